export { type LaunchedProgram, type LaunchOptions, launchProgram } from './launch-program.ts';
export {
  descendants,
  identifyProcess,
  isRunning,
  killMarked,
  killTree,
  mayLowerOomScore,
  mayRun,
  ownOomScoreAdj,
  type ProcessIdentity,
  processesNaming,
  signalProcess,
} from './process-identity.ts';
export { ProgramError, type ProgramOptions, type ProgramResult, runProgram } from './run-program.ts';

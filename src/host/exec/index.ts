export { type LaunchedProgram, type LaunchOptions, launchProgram } from './launch-program.ts';
export { ProgramError, type ProgramOptions, type ProgramResult, runProgram } from './run-program.ts';

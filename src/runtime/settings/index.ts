export {
  ConfigurationError,
  changedSettings,
  parseSettings,
  printSettings,
  readFlagValue,
  readSettings,
} from './read-file.ts';
export {
  findProgram,
  type OciRuntimeSettings,
  type ResolvedSettings,
  type RuntimeSettings,
  resolveSettings,
} from './resolve.ts';
export { fileName, printValue, SettingProblem } from './schema.ts';
export { type FileSettings, type Setting, settingTable } from './table.ts';

export { type CheckFinding, checkRuntime } from './check.ts';
export { type DockerSettings, startDockerRuntime } from './docker/index.ts';
export type {
  ArchiveFormat,
  EndpointReport,
  ImageStore,
  RegistryAuth,
  RegistryConfig,
  StoreFinding,
} from './images/index.ts';
export type { Pruned } from './images-admin.ts';
export { type Runtime, startRuntime } from './runtime.ts';
export {
  ConfigurationError,
  type FileSettings,
  fileName,
  type OciRuntimeSettings,
  printSettings,
  type RuntimeSettings,
  readFlagValue,
  readSettings,
  resolveSettings,
  type Setting,
  SettingProblem,
  settingTable,
} from './settings/index.ts';

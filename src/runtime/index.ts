import type { checkRuntime as check } from './check.ts';
import type { startDockerRuntime as startDocker } from './docker/index.ts';

export type { CheckFinding } from './check.ts';
export type { DockerSettings } from './docker/index.ts';
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

/** Looks whether this machine can do what the settings ask for; see check.ts, which only this command needs. */
export const checkRuntime: typeof check = async (...given) => (await import('./check.ts')).checkRuntime(...given);

/** Starts the runtime that has its containers made by a Docker daemon; loaded by whoever wants it. */
export const startDockerRuntime = async (
  ...given: Parameters<typeof startDocker>
): Promise<ReturnType<typeof startDocker>> => (await import('./docker/index.ts')).startDockerRuntime(...given);

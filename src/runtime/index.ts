export type { ImageStore, RegistryAuth, RegistryConfig } from './images/index.ts';
export { type Runtime, startRuntime } from './runtime.ts';
export type { OciRuntimeSettings, RuntimeSettings } from './settings/index.ts';

export {
  type ApiServer,
  type ApiServerConfig,
  type Extensions,
  type Registry,
  StatusError,
  startApiServer,
} from './apiserver/index.ts';
export { type ControllersConfig, controllerNames, Informers, startControllers } from './controllers/index.ts';
export { type Dns, type DnsConfig, parseResolvConf, startDns, type Upstream } from './dns/index.ts';
export { createExtensions, type ExtensionsConfig } from './extensions.ts';
export {
  type ApiServerPki,
  ensurePki,
  loadApiServerPki,
  PkiError,
  type PkiFiles,
  type PkiOptions,
} from './pki/index.ts';
export { type SchedulerConfig, startScheduler } from './scheduler/index.ts';
export { Store, StoreError } from './store/index.ts';

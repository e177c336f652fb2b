export {
  type ApiServerPki,
  ensurePki,
  loadApiServerPki,
  PkiError,
  type PkiFiles,
  type PkiOptions,
} from './pki/index.ts';
export {
  type ApiServer,
  type ApiServerConfig,
  type Extensions,
  type Registry,
  startApiServer,
  StatusError,
} from './apiserver/index.ts';
export { Store, StoreError } from './store/index.ts';

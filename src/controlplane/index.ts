export {
  type ApiServerPki,
  ensurePki,
  loadApiServerPki,
  PkiError,
  type PkiFiles,
  type PkiOptions,
} from './pki/index.ts';

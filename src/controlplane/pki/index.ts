export type { PkiOptions } from './certificate-plan.ts';
export { ensurePki, type PkiFiles } from './ensure-pki.ts';
export { type ApiServerPki, loadApiServerPki } from './load-pki.ts';
export { PkiError, type PkiErrorCode } from './pki-error.ts';

/** What can be wrong with the certificates of a cluster. */
export type PkiErrorCode = 'AUTHORITY_DAMAGED' | 'AUTHORITY_INCOMPLETE' | 'KEY_DAMAGED' | 'MISSING';

/** A certificate directory that cannot be used; nothing in it was changed. */
export class PkiError extends Error {
  readonly code: PkiErrorCode;
  constructor(code: PkiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Why a patch cannot be applied. */
export type PatchErrorCode = 'MALFORMED' | 'TOO_LARGE' | 'MISSING' | 'TEST_FAILED';

/** A patch that cannot be applied; the message is fit for the client. */
export class PatchError extends Error {
  readonly code: PatchErrorCode;

  constructor(code: PatchErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

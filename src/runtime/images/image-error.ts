/** What went wrong with an image. */
export type ImageErrorCode =
  | 'NOT_FOUND'
  | 'UNAUTHENTICATED'
  | 'UNAVAILABLE'
  | 'INVALID_ARGUMENT'
  | 'DATA_LOSS'
  | 'RESOURCE_EXHAUSTED'
  | 'CANCELLED'
  | 'UNKNOWN';

/** An image that cannot be had; the code is the gRPC status that says so. */
export class ImageError extends Error {
  readonly code: ImageErrorCode;
  constructor(code: ImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
  /** Any failure as an ImageError: a full disk and a cancelled pull have codes of their own. */
  static from(error: unknown): ImageError {
    if (error instanceof ImageError) return error;
    const { code, message = String(error), name } = error as { code?: string; message?: string; name?: string };
    if (code === 'ENOSPC' || code === 'EDQUOT')
      return new ImageError('RESOURCE_EXHAUSTED', `no space left on device: ${message}`, { cause: error });
    if (name === 'AbortError' || code === 'ABORT_ERR')
      return new ImageError('CANCELLED', 'context canceled', { cause: error });
    return new ImageError('UNKNOWN', message, { cause: error });
  }
}

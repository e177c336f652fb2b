/** What went wrong with an image. */
export type ImageErrorCode =
  | 'NOT_FOUND'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'UNAVAILABLE'
  | 'INVALID_ARGUMENT'
  | 'FAILED_PRECONDITION'
  | 'DATA_LOSS'
  | 'RESOURCE_EXHAUSTED'
  | 'DEADLINE_EXCEEDED'
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
    const { code, message = String(error), name, type } = error as Partial<Record<string, string>>;
    // One that was thrown in a thread.
    if (type === 'ImageError') return new ImageError(code as ImageErrorCode, message, { cause: error });
    if (code === 'ENOSPC' || code === 'EDQUOT')
      return new ImageError('RESOURCE_EXHAUSTED', `no space left on device: ${message}`, { cause: error });
    if (code === 'ERR_WORKER_OUT_OF_MEMORY')
      return new ImageError('RESOURCE_EXHAUSTED', 'layer needs more memory to unpack than it may take', {
        cause: error,
      });
    if (name === 'AbortError' || code === 'ABORT_ERR')
      return new ImageError('CANCELLED', 'context canceled', { cause: error });
    return new ImageError('UNKNOWN', message, { cause: error });
  }
}

import { status as codes } from '@grpc/grpc-js';

/** A gRPC status by name. */
export type GrpcCode = keyof typeof codes;

/** A call that failed, on either side. */
export class GrpcError extends Error {
  readonly code: GrpcCode;
  constructor(code: GrpcCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
  /**
   * Any error as a GrpcError: grpc-js errors keep their code, an abort is CANCELLED, others are UNKNOWN. Where the undoing
   * of a failed work failed too, the work's own error goes first.
   */
  static from(error: unknown): GrpcError {
    if (error instanceof GrpcError) return error;
    if (error instanceof SuppressedError) {
      const first = GrpcError.from(error.suppressed);
      const { message: undoing = String(error.error) } = error.error as { message?: string };
      return new GrpcError(first.code, `${first.message} (and then: ${undoing})`, { cause: error });
    }
    const { code, details, message, name } = error as {
      code?: unknown;
      details?: string;
      message?: string;
      name?: string;
    };
    if (typeof code === 'number' && codes[code])
      return new GrpcError(codes[code] as GrpcCode, details || message || '', { cause: error });
    if (name === 'AbortError') return new GrpcError('CANCELLED', message ?? 'cancelled', { cause: error });
    return new GrpcError('UNKNOWN', message ?? String(error), { cause: error });
  }
  /** The number that goes over the wire. */
  get number(): number {
    return codes[this.code];
  }
}

import type { GrpcCode } from '../../../wire/grpc/index.ts';
import { RuntimeError } from '../../errors.ts';

/** What the engine answered instead of doing what was asked. */
export class EngineError extends RuntimeError {
  /** The HTTP status. */
  readonly status: number;
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(codes[status] ?? 'UNKNOWN', message, options);
    this.status = status;
  }
}

const codes: Readonly<Record<number, GrpcCode>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  409: 'FAILED_PRECONDITION',
  501: 'UNIMPLEMENTED',
  503: 'UNAVAILABLE',
};

/** Whether an error says that something is not there. */
export const isMissing = (error: unknown): boolean => error instanceof EngineError && error.status === 404;

/** Whether an error says that a name is taken, or that something is not in the state for what was asked. */
export const isConflict = (error: unknown): boolean => error instanceof EngineError && error.status === 409;

/** The engine's text without what it puts around that of the OCI runtime. */
export function plainMessage(text: string): string {
  return text.replace(/^Error response from daemon: /, '').trim();
}

import { GrpcError } from '../../../wire/grpc/index.ts';
import { describeError, pascalCase } from '../../errors.ts';

/** A message as events show those of CSI. */
export function csiText(message: string): string {
  return `kubernetes.io/csi: ${message}`;
}

/** A call to a driver that failed. */
export class CsiCallError extends Error {
  readonly code: string;
  /**
   * Whether the driver has certainly not done what it was asked, and does nothing more. When it is not certain, what the
   * call may have left has to be undone by the opposite call.
   */
  readonly isFinal: boolean;

  constructor(cause: unknown) {
    const error = GrpcError.from(cause);
    super(describeError(error), { cause });
    this.code = error.code;
    this.isFinal = !uncertain.has(error.code);
  }

  /** The code as gRPC libraries print it: `DeadlineExceeded`. */
  get codeName(): string {
    return pascalCase(this.code);
  }
}

/** Codes with which a driver (or the connection) may still be at work, by the specification. */
const uncertain: ReadonlySet<string> = new Set([
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'UNAVAILABLE',
  'RESOURCE_EXHAUSTED',
  'ABORTED',
]);

/** Whether after this error nothing of the operation is left or will come. */
export function isFinalError(error: unknown): boolean {
  return !(error instanceof CsiCallError) || error.isFinal;
}

import { type GrpcCode, GrpcError } from '../wire/grpc/index.ts';

/** What went wrong in the runtime: a gRPC code, the subject in the message, and the cause. */
export class RuntimeError extends GrpcError {}

/** An object that is not there. */
export function notFound(kind: 'sandbox' | 'container' | 'image' | 'runtime handler', id: string): RuntimeError {
  return new RuntimeError('NOT_FOUND', `${kind} "${id}" not found`);
}

/** A request that cannot be granted as it is. */
export function invalid(message: string): RuntimeError {
  return new RuntimeError('INVALID_ARGUMENT', message);
}

/** Something that is there, but not as the call needs it: not running, still running. */
export function notInState(message: string): RuntimeError {
  return new RuntimeError('FAILED_PRECONDITION', message);
}

/** A name that something else has. */
export function nameTaken(kind: 'sandbox' | 'container', name: string, owner: string): RuntimeError {
  return new RuntimeError('ALREADY_EXISTS', `failed to reserve ${kind} name "${name}": it is reserved for "${owner}"`);
}

/** A failed step of a call: keeps the code of the cause, if it has one, and says which step it was. */
export function stepFailed(step: string, cause: unknown): RuntimeError {
  const code: GrpcCode = cause instanceof GrpcError ? cause.code : 'UNKNOWN';
  return new RuntimeError(code, `${step}: ${messageOf(cause)}`, { cause });
}

/** The message of anything thrown. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** The code of a Node or system call error, such as `ENOENT`. */
export function codeOf(cause: unknown): string | undefined {
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Passes over errors that say that something is not there. */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw cause;
  }
}

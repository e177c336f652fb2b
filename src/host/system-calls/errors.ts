import { constants } from 'node:os';

const names = new Map(
  Object.entries(constants.errno)
    .toReversed()
    .map(([name, number]) => [number, name]),
);

/** What the kernel refused. */
export class SystemCallError extends Error {
  /** The errno's name: `EEXIST`. */
  readonly code: string;
  /** The errno as a positive number. */
  readonly errno: number;

  /** `what` is the call or, better, what it was for, in the caller's words. */
  constructor(errno: number, what: string, detail = '') {
    const code = errnoName(errno);
    super(`${what}: ${code}${detail ? `: ${detail}` : ''}`);
    this.name = 'SystemCallError';
    this.code = code;
    this.errno = errno;
  }
}

/** The name of an errno: `EEXIST` for 17. Of two names for one number, the older (`EAGAIN`, `ENOTSUP`). */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** Whether the error is the kernel's answer with one of these errno names. */
export function hasErrno(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as { code?: string } | undefined)?.code ?? '');
}

import { getSystemErrorMap } from 'node:util';

/** What the kernel answered to a netlink request, or what the socket refused. */
export class NetlinkError extends Error {
  /** The errno's name (`EEXIST`), or `EINTR_DUMP` for a dump that changed while it was read. */
  readonly code: string;
  /** The errno as a positive number; 0 for errors that are not the kernel's. */
  readonly errno: number;
  /** What was asked for, in the caller's words. */
  readonly subject: string;
  /** The kernel's own explanation, when it gave one (extended acknowledgement). */
  readonly kernelMessage: string;
  /** The sequence number of the message that failed, 0 when unknown. */
  readonly sequence: number;

  constructor(errno: number, subject: string, options: { kernelMessage?: string; sequence?: number } = {}) {
    const code = errnoName(errno);
    super(`${subject}: ${code}${options.kernelMessage ? `: ${options.kernelMessage}` : ''}`);
    this.name = 'NetlinkError';
    this.code = code;
    this.errno = errno;
    this.subject = subject;
    this.kernelMessage = options.kernelMessage ?? '';
    this.sequence = options.sequence ?? 0;
  }
}

/** The name of an errno: `EEXIST` for 17. */
export function errnoName(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[0] ?? `errno ${errno}`;
}

/** Whether the error is the kernel's answer with this errno name. */
export function isNetlinkError(error: unknown, ...codes: string[]): error is NetlinkError {
  return error instanceof NetlinkError && (codes.length === 0 || codes.includes(error.code));
}

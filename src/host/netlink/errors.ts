import { SystemCallError } from '../system-calls/index.ts';

/** What the kernel answered to a netlink request, or what the socket refused. */
export class NetlinkError extends SystemCallError {
  /** What was asked for, in the caller's words. */
  readonly subject: string;
  /** The kernel's own explanation, when it gave one (extended acknowledgement). */
  readonly kernelMessage: string;
  /** The sequence number of the message that failed, 0 when unknown. */
  readonly sequence: number;

  constructor(errno: number, subject: string, options: { kernelMessage?: string; sequence?: number } = {}) {
    super(errno, subject, options.kernelMessage);
    this.name = 'NetlinkError';
    this.subject = subject;
    this.kernelMessage = options.kernelMessage ?? '';
    this.sequence = options.sequence ?? 0;
  }
}

/** Whether the error is the kernel's answer with this errno name. */
export function isNetlinkError(error: unknown, ...codes: string[]): error is NetlinkError {
  return error instanceof NetlinkError && (codes.length === 0 || codes.includes(error.code));
}

/** How one look ended. `error`: the probe could not be made at all, which says nothing about the container. */
export type ProbeOutcome =
  | { kind: 'success'; warning?: string }
  | { kind: 'failure'; output: string }
  | { kind: 'error'; output: string };

/** What the container did wrong; any other error is the probe's. */
export class ProbeFailure extends Error {}

/** The most of a body or of a command's output that is kept for messages, bytes. */
export const mostOutput = 10 * 1024;

/** What went wrong on the network, in the words that users of probes know. */
export function networkText(error: { code?: string; message: string }, dial: string): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return `${dial}: connect: connection refused`;
    case 'EHOSTUNREACH':
      return `${dial}: connect: no route to host`;
    case 'ENETUNREACH':
      return `${dial}: connect: network is unreachable`;
    case 'ECONNRESET':
      return 'read: connection reset by peer';
    case 'ETIMEDOUT':
      return `${dial}: i/o timeout`;
    case 'ENOTFOUND':
      return `${dial}: lookup: no such host`;
    default:
      return error.message;
  }
}

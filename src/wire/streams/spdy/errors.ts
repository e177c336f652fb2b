/** Names of the status codes of RST_STREAM (SPDY draft 3.1, section 2.6.3). */
export const resetCodes = {
  PROTOCOL_ERROR: 1,
  INVALID_STREAM: 2,
  REFUSED_STREAM: 3,
  UNSUPPORTED_VERSION: 4,
  CANCEL: 5,
  INTERNAL_ERROR: 6,
  FLOW_CONTROL_ERROR: 7,
  STREAM_IN_USE: 8,
  STREAM_ALREADY_CLOSED: 9,
  FRAME_TOO_LARGE: 11,
} as const;

/** What went wrong with a stream or a session. */
export type SpdyCode = keyof typeof resetCodes | 'SESSION_CLOSED';

/** Raised for a peer that breaks the protocol, a stream that was reset, a session that has ended. */
export class SpdyError extends Error {
  readonly code: SpdyCode;
  constructor(code: SpdyCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The name of a reset's status code. */
export function resetCodeName(status: number): SpdyCode {
  const found = Object.entries(resetCodes).find(([, value]) => value === status);
  return (found?.[0] as SpdyCode | undefined) ?? 'PROTOCOL_ERROR';
}

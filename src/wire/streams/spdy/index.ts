export { SpdyError } from './errors.ts';
export { SpdySession, type SpdySessionOptions } from './session.ts';
export { SpdyStream } from './stream.ts';

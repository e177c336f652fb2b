/** What can be wrong in the proxy's own terms. */
export type ProxyErrorCode =
  | 'INVALID_CONFIGURATION'
  | 'UNSUPPORTED'
  | 'NODE_NOT_FOUND'
  | 'PORT_TAKEN'
  | 'KERNEL_REFUSED'
  | 'UNREADABLE_RULES';

/** An error of the proxy: code, subject, cause. */
export class ProxyError extends Error {
  readonly code: ProxyErrorCode;
  readonly subject: string;

  constructor(code: ProxyErrorCode, subject: string, message: string, options?: ErrorOptions) {
    super(`${subject}: ${message}`, options);
    this.name = 'ProxyError';
    this.code = code;
    this.subject = subject;
  }
}

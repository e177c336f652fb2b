/** A volume that cannot be made usable. The message is what FailedMount events show. */
export class VolumeError extends Error {
  /**
   * NOT_FOUND: an object or key is missing and may come; INVALID: the pod asks for what cannot be; FAILED: the host
   * refused; TIMEOUT: the volumes of a pod were not all there in time.
   */
  readonly code: 'NOT_FOUND' | 'INVALID' | 'FAILED' | 'TIMEOUT';
  constructor(code: VolumeError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

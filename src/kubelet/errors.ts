/**
 * What can go wrong on the way to a running container, in the words that a pod's status uses:
 * `reason` is the waiting reason, `message` goes beside it.
 */
export type FailureReason =
  | 'ErrImagePull'
  | 'ImagePullBackOff'
  | 'ErrImageNeverPull'
  | 'InvalidImageName'
  | 'ImageInspectError'
  | 'RegistryUnavailable'
  | 'SignatureValidationFailed'
  | 'CreateContainerConfigError'
  | 'CreateContainerError'
  | 'RunContainerError'
  | 'PostStartHookError'
  | 'CreatePodSandboxError'
  | 'CreatePodSandboxConfigError'
  | 'MountError'
  | 'NetworkNotReady';

/** A step that failed in a way that the pod's status tells. */
export class PodError extends Error {
  readonly reason: FailureReason;
  constructor(reason: FailureReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Raised for a configuration or manifest that cannot be used; `field` says where. */
export class ConfigurationError extends Error {
  readonly code = 'INVALID_CONFIGURATION';
  readonly field: string;
  constructor(field: string, message: string, options?: ErrorOptions) {
    super(`${field}: ${message}`, options);
    this.field = field;
  }
}

/** The text of any error, as events show it: errors of the runtime in gRPC's form. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  if (error.constructor.name === 'GrpcError')
    return `rpc error: code = ${pascalCase(String(code))} desc = ${error.message}`;
  return error.message;
}

/** `DEADLINE_EXCEEDED` as `DeadlineExceeded`, as gRPC libraries print codes. */
export function pascalCase(code: string): string {
  return code.toLowerCase().replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

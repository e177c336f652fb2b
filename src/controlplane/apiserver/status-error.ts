import type { Status } from '../../api/index.ts';
import type { FieldError } from './extension-points.ts';

/** An error that is answered as a Status object (kind Status, apiVersion v1), worded as upstream's clients expect. */
export class StatusError extends Error {
  /** The HTTP status code. */
  readonly code: number;
  /** NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Unauthorized, BadRequest, Expired … */
  readonly reason: string;
  readonly details: Status['details'];
  /** Value of a Retry-After header, seconds. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: number, reason: string, message: string, details?: Status['details'], retryAfterSeconds?: number) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.retryAfterSeconds = retryAfterSeconds;
  }
  /** The Status object that goes over the wire. */
  toStatus(): Status {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      reason: this.reason,
      ...(this.details ? { details: this.details } : {}),
      code: this.code,
    };
  }
}

/** `pods "web" not found`; the subject is `plural` or `plural.group`. */
export function notFound(group: string, plural: string, name: string): StatusError {
  const subject = group ? `${plural}.${group}` : plural;
  return new StatusError(404, 'NotFound', `${subject} "${name}" not found`, {
    name,
    ...(group ? { group } : {}),
    kind: plural,
  });
}

/** 422 with every wrong field: `Pod "web" is invalid: spec.containers: Required value`. */
export function invalid(group: string, kind: string, name: string, errors: FieldError[]): StatusError {
  const texts = errors.map((error) => `${error.field}: ${error.message}`);
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const subject = group ? `${kind}.${group}` : kind;
  return new StatusError(422, 'Invalid', `${subject} "${name}" is invalid: ${list}`, {
    name,
    ...(group ? { group } : {}),
    kind,
    causes: errors.map(({ field, reason, message }) => ({ reason, message, field })),
  });
}

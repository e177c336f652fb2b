import type { Status } from '../api/index.ts';

/** An answer other than success, as the server's Status says it. */
export class ApiError extends Error {
  /** HTTP status code. */
  readonly code: number;
  /** NotFound, Conflict, AlreadyExists, Expired, Invalid … */
  readonly reason: string;
  readonly status: Status;

  constructor(status: Status) {
    super(status.message || `${status.reason || 'error'} (${status.code})`);
    this.status = status;
    this.code = status.code ?? 500;
    this.reason = status.reason ?? '';
  }

  /** The error of an answer whose body may or may not be a Status. */
  static fromResponse(code: number, body: Uint8Array): ApiError {
    const text = Buffer.from(body).toString();
    try {
      const parsed = JSON.parse(text) as Status;
      if (parsed.kind === 'Status') return new ApiError({ ...parsed, code: parsed.code ?? code });
    } catch {
      // Not JSON: the text itself is the message.
    }
    return new ApiError({
      metadata: {},
      status: 'Failure',
      code,
      reason: reasonOf(code),
      message: text.trim() || `the server answered ${code}`,
    });
  }
}

function reasonOf(code: number): string {
  const reasons: Record<number, string> = {
    401: 'Unauthorized',
    403: 'Forbidden',
    404: 'NotFound',
    409: 'Conflict',
    410: 'Expired',
    429: 'TooManyRequests',
    503: 'ServiceUnavailable',
  };
  return reasons[code] ?? 'Unknown';
}

const is =
  (test: (error: ApiError) => boolean) =>
  (error: unknown): boolean =>
    error instanceof ApiError && test(error);

/** The object does not exist. */
export const isNotFound = is(({ code }) => code === 404);
/** Someone else wrote in between. */
export const isConflict = is(({ code, reason }) => code === 409 && reason !== 'AlreadyExists');
/** An object of that name exists. */
export const isAlreadyExists = is(({ reason }) => reason === 'AlreadyExists');
/** The resourceVersion is too old: list again. */
export const isExpired = is(({ code }) => code === 410);

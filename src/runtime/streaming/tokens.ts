import { randomBytes } from 'node:crypto';
import type { Clock } from '../../async/index.ts';
import { RuntimeError } from '../errors.ts';

const lifetimeMs = 60_000;
const maximumInFlight = 1000;

/** Requests that wait for their connection, each behind a token that works once and for a minute. */
export class TokenCache<T> {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, { value: T; expiresAt: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keeps a request; gives its token. @throws RuntimeError RESOURCE_EXHAUSTED when too many wait */
  insert(value: T): string {
    const now = this.#clock.monotonic();
    for (const [token, { expiresAt }] of this.#waiting) if (expiresAt <= now) this.#waiting.delete(token);
    if (this.#waiting.size >= maximumInFlight)
      throw new RuntimeError('RESOURCE_EXHAUSTED', 'maximum number of in-flight streaming requests exceeded');
    const token = randomBytes(12).toString('base64url');
    this.#waiting.set(token, { value, expiresAt: now + lifetimeMs });
    return token;
  }

  /** Takes the request of a token; undefined when there is none, or it is used or too old. */
  take(token: string): T | undefined {
    const found = this.#waiting.get(token);
    this.#waiting.delete(token);
    return found && found.expiresAt > this.#clock.monotonic() ? found.value : undefined;
  }
}

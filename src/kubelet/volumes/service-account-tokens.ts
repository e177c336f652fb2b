import type { Pod, AuthenticationV1TokenRequest as TokenRequest } from '../../api/index.ts';
import type { Clock, Timer } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';

interface Token {
  value: string;
  /** Milliseconds since 1970. */
  refreshAt: number;
  expiresAt: number;
}

/** A refused renewal is tried again after this long, milliseconds. */
const retryMs = 10_000;

/** Tokens for pods' service accounts, by TokenRequest, kept until 80 % of their life (at most a day) has passed. */
export class ServiceAccountTokens {
  readonly #client: ApiClient | undefined;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Token>();
  readonly #timers = new Map<string, Timer>();
  readonly #onDue: (podUid: string) => void;

  /** @param onDue told when a token of a pod is to be asked for anew */
  constructor(client: ApiClient | undefined, clock: Clock, onDue: (podUid: string) => void) {
    this.#client = client;
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** A token bound to the pod. An old one that is still good is given when the API server does not answer. */
  async get(pod: Pod, request: { audience?: string; expirationSeconds?: number }): Promise<string> {
    return (await this.#token(pod, request)).value;
  }

  /** The same with its end, as a TokenRequest's status has both. */
  async status(
    pod: Pod,
    request: { audience?: string; expirationSeconds?: number },
  ): Promise<{ token: string; expirationTimestamp: string }> {
    const { value, expiresAt } = await this.#token(pod, request);
    return { token: value, expirationTimestamp: new Date(expiresAt).toISOString().replace('.000Z', 'Z') };
  }

  async #token(pod: Pod, request: { audience?: string; expirationSeconds?: number }): Promise<Token> {
    if (!this.#client) throw new Error('a pod without an API server cannot have a service account token');
    const key = `${pod.metadata.uid}/${request.audience ?? ''}/${request.expirationSeconds ?? ''}`;
    const known = this.#tokens.get(key);
    const now = this.#clock.now();
    if (known && now < known.refreshAt) return known;
    try {
      const token = await this.#request(this.#client, pod, request, now);
      this.#tokens.set(key, token);
      return token;
    } catch (error) {
      if (!known || now >= known.expiresAt) throw error;
      // Not to be asked for again at once.
      known.refreshAt = now + retryMs;
      return known;
    } finally {
      this.#schedule(pod.metadata.uid);
    }
  }

  release(podUid: string): void {
    this.#timers.get(podUid)?.cancel();
    this.#timers.delete(podUid);
    for (const key of this.#tokens.keys()) if (key.startsWith(`${podUid}/`)) this.#tokens.delete(key);
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  /** Has the pod looked at again when its first token is due. */
  #schedule(podUid: string): void {
    this.#timers.get(podUid)?.cancel();
    const own = [...this.#tokens].filter(([key]) => key.startsWith(`${podUid}/`));
    if (own.length === 0) return;
    const dueInMs = Math.min(...own.map(([, { refreshAt }]) => refreshAt)) - this.#clock.now();
    this.#timers.set(
      podUid,
      this.#clock.after(Math.max(1_000, dueInMs), () => this.#onDue(podUid)),
    );
  }

  async #request(
    client: ApiClient,
    pod: Pod,
    request: { audience?: string; expirationSeconds?: number },
    now: number,
  ): Promise<Token> {
    const { namespace = 'default', name, uid } = pod.metadata;
    const account = pod.spec.serviceAccountName || 'default';
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: request.audience ? [request.audience] : [],
        expirationSeconds: request.expirationSeconds ?? 3600,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      },
    };
    const response = await client.request('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`, {
      body,
    });
    const { status } = JSON.parse(response.body.toString()) as TokenRequest;
    if (!status) throw new Error(`the API server gave no token for service account ${account}`);
    const expiresAt = Date.parse(status.expirationTimestamp!);
    const life = expiresAt - now;
    return { value: status.token!, expiresAt, refreshAt: now + Math.min(life * 0.8, 24 * 3_600_000) };
  }
}

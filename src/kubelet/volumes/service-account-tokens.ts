import type { Pod, AuthenticationV1TokenRequest as TokenRequest } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';

interface Token {
  value: string;
  /** Milliseconds since 1970. */
  refreshAt: number;
  expiresAt: number;
}

/** Tokens for pods' service accounts, by TokenRequest, kept until 80 % of their life (at most a day) has passed. */
export class ServiceAccountTokens {
  readonly #client: ApiClient | undefined;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Token>();

  constructor(client: ApiClient | undefined, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** A token bound to the pod. An old one that is still good is given when the API server does not answer. */
  async get(pod: Pod, request: { audience?: string; expirationSeconds?: number }): Promise<string> {
    if (!this.#client) throw new Error('a pod without an API server cannot have a service account token');
    const key = `${pod.metadata.uid}/${request.audience ?? ''}/${request.expirationSeconds ?? ''}`;
    const known = this.#tokens.get(key);
    const now = this.#clock.now();
    if (known && now < known.refreshAt) return known.value;
    try {
      const token = await this.#request(this.#client, pod, request, now);
      this.#tokens.set(key, token);
      return token.value;
    } catch (error) {
      if (known && now < known.expiresAt) return known.value;
      throw error;
    }
  }

  /** When the earliest token of the pod is due for renewal, milliseconds since 1970. */
  refreshAt(podUid: string): number | undefined {
    const times = [...this.#tokens]
      .filter(([key]) => key.startsWith(`${podUid}/`))
      .map(([, { refreshAt }]) => refreshAt);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  release(podUid: string): void {
    for (const key of this.#tokens.keys()) if (key.startsWith(`${podUid}/`)) this.#tokens.delete(key);
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

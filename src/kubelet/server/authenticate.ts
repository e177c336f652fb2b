import { createHash } from 'node:crypto';
import type { TokenReview } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { clientCertificateOf, type IncomingMessage } from '../../wire/http/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletConfiguration } from '../config/kubelet-configuration.ts';
import { ReviewCache } from './review-cache.ts';

/** Who asks. */
export interface Caller {
  name: string;
  uid?: string;
  groups: string[];
  extra?: Record<string, string[]>;
}

/** How long the API server may take to say who somebody is, milliseconds. */
const reviewTimeoutMs = 10_000;

/**
 * Finds out who asks: by a client certificate of the CA, then by a bearer token that the API server knows, then (only
 * when it is configured) nobody in particular.
 */
export class Authenticator {
  readonly #client: ApiClient | undefined;
  readonly #configuration: KubeletConfiguration['authentication'];
  readonly #tokens: ReviewCache<Caller | undefined>;

  constructor(client: ApiClient | undefined, configuration: KubeletConfiguration, clock: Clock) {
    this.#client = client;
    this.#configuration = configuration.authentication;
    const lifeMs = durationMs(configuration.authentication.webhook.cacheTTL);
    this.#tokens = new ReviewCache(clock, () => lifeMs);
  }

  /** Who asks; undefined for a stranger. @throws Error when the API server cannot be asked */
  async identify(request: IncomingMessage): Promise<Caller | undefined> {
    const { x509, anonymous } = this.#configuration;
    const certificate = x509.clientCAFile ? clientCertificateOf(request) : undefined;
    if (certificate)
      return { name: certificate.commonName, groups: [...certificate.organizations, 'system:authenticated'] };
    const nobody = anonymous.enabled ? { name: 'system:anonymous', groups: ['system:unauthenticated'] } : undefined;
    try {
      return (await this.#byToken(request)) ?? nobody;
    } catch (error) {
      if (nobody) return nobody;
      throw error;
    }
  }

  async #byToken(request: IncomingMessage): Promise<Caller | undefined> {
    const token = bearerToken(request);
    if (!token || !this.#client || !this.#configuration.webhook.enabled) return undefined;
    const client = this.#client;
    // The token itself is not kept.
    const key = createHash('sha256').update(token).digest('base64');
    return this.#tokens.get(key, () => review(client, token));
  }
}

/** The token in the header or, for browsers' WebSockets, among the protocols. */
function bearerToken({ headers }: IncomingMessage): string | undefined {
  const token = /^Bearer +(\S+)$/i.exec(headers.authorization?.trim() ?? '')?.[1];
  if (token) return token;
  const protocols = headers['sec-websocket-protocol']?.split(',').map((one) => one.trim()) ?? [];
  const encoded = protocols.find((one) => one.startsWith(tokenProtocol))?.slice(tokenProtocol.length);
  return encoded ? Buffer.from(encoded, 'base64url').toString() : undefined;
}

const tokenProtocol = 'base64url.bearer.authorization.k8s.io.';

async function review(client: ApiClient, token: string): Promise<Caller | undefined> {
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } };
  const path = '/apis/authentication.k8s.io/v1/tokenreviews';
  const response = await client.request('POST', path, { body, timeoutMs: reviewTimeoutMs });
  const { status } = JSON.parse(response.body.toString()) as TokenReview;
  if (!status?.authenticated || !status.user?.username) return undefined;
  const { username, uid, groups = [], extra } = status.user;
  return {
    name: username,
    groups,
    ...(uid ? { uid } : {}),
    ...(extra ? { extra: extra as Record<string, string[]> } : {}),
  };
}

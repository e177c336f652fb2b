import { createHash } from 'node:crypto';
import type { SubjectAccessReview, TokenReview } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { clientCertificateOf, type IncomingMessage } from '../../wire/http/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletConfiguration } from '../config/kubelet-configuration.ts';
import { ServerError } from './server-error.ts';

/** Who asks. */
export interface Caller {
  name: string;
  uid?: string;
  groups: string[];
}

/** Lets callers in: by client certificate or by a token that the API server knows, then by what the API server allows. */
export class Gate {
  readonly #client: ApiClient | undefined;
  readonly #configuration: KubeletConfiguration;
  readonly #nodeName: string;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, { caller: Caller | undefined; until: number }>();
  readonly #decisions = new Map<string, { allowed: boolean; reason: string; until: number }>();

  constructor(options: {
    client: ApiClient | undefined;
    configuration: KubeletConfiguration;
    nodeName: string;
    clock: Clock;
  }) {
    this.#client = options.client;
    this.#configuration = options.configuration;
    this.#nodeName = options.nodeName;
    this.#clock = options.clock;
  }

  /** @throws ServerError 401 for a stranger, 403 for someone who may not */
  async admit(request: IncomingMessage, path: string): Promise<Caller> {
    const caller = (await this.#identify(request)) ?? this.#anonymous();
    if (!caller) throw new ServerError(401, 'Unauthorized');
    if (this.#configuration.authorization.mode === 'AlwaysAllow') return caller;
    const attributes = accessAttributes(request.method ?? 'GET', path);
    const { allowed, reason } = await this.#decide(caller, attributes);
    if (!allowed) {
      throw new ServerError(
        403,
        `Forbidden (user=${caller.name}, verb=${attributes.verb}, resource=nodes, subresource(s)=[${attributes.subresource}])${reason ? `: ${reason}` : ''}`,
      );
    }
    return caller;
  }

  #anonymous(): Caller | undefined {
    return this.#configuration.authentication.anonymous.enabled
      ? { name: 'system:anonymous', groups: ['system:unauthenticated'] }
      : undefined;
  }

  async #identify(request: IncomingMessage): Promise<Caller | undefined> {
    const certificate = this.#configuration.authentication.x509.clientCAFile ? clientCertificateOf(request) : undefined;
    if (certificate)
      return { name: certificate.commonName, groups: [...certificate.organizations, 'system:authenticated'] };
    const token = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (!token || !this.#client || !this.#configuration.authentication.webhook.enabled) return undefined;
    const key = createHash('sha256').update(token).digest('base64');
    const known = this.#tokens.get(key);
    if (known && this.#clock.monotonic() < known.until) return known.caller;
    const caller = await this.#reviewToken(this.#client, token);
    remember(this.#tokens, key, {
      caller,
      until: this.#clock.monotonic() + durationMs(this.#configuration.authentication.webhook.cacheTTL),
    });
    return caller;
  }

  async #reviewToken(client: ApiClient, token: string): Promise<Caller | undefined> {
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } };
    const response = await client.request('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      body,
      timeoutMs: 10_000,
    });
    const { status } = JSON.parse(response.body.toString()) as TokenReview;
    if (!status?.authenticated || !status.user?.username) return undefined;
    return {
      name: status.user.username,
      groups: status.user.groups ?? [],
      ...(status.user.uid ? { uid: status.user.uid } : {}),
    };
  }

  async #decide(
    caller: Caller,
    attributes: { verb: string; subresource: string },
  ): Promise<{ allowed: boolean; reason: string }> {
    if (caller.groups.includes('system:masters')) return { allowed: true, reason: '' };
    if (!this.#client) return { allowed: false, reason: 'there is no API server to ask' };
    const key = JSON.stringify([caller, attributes]);
    const known = this.#decisions.get(key);
    if (known && this.#clock.monotonic() < known.until) return known;
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: caller.name,
        groups: caller.groups,
        ...(caller.uid ? { uid: caller.uid } : {}),
        resourceAttributes: {
          verb: attributes.verb,
          group: '',
          version: 'v1',
          resource: 'nodes',
          subresource: attributes.subresource,
          name: this.#nodeName,
        },
      },
    };
    const response = await this.#client.request('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      body,
      timeoutMs: 10_000,
    });
    const { status } = JSON.parse(response.body.toString()) as SubjectAccessReview;
    const { cacheAuthorizedTTL, cacheUnauthorizedTTL } = this.#configuration.authorization.webhook;
    const decision = { allowed: status?.allowed ?? false, reason: status?.reason ?? '' };
    remember(this.#decisions, key, {
      ...decision,
      until: this.#clock.monotonic() + durationMs(decision.allowed ? cacheAuthorizedTTL : cacheUnauthorizedTTL),
    });
    return decision;
  }
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.set(key, value);
  if (map.size > 1024) map.delete(map.keys().next().value!);
}

/** What a request asks of the node, as RBAC rules name it (nodes/stats, nodes/metrics, nodes/log, nodes/proxy …). */
export function accessAttributes(method: string, path: string): { verb: string; subresource: string } {
  const verbs: Record<string, string> = {
    GET: 'get',
    HEAD: 'get',
    POST: 'create',
    PUT: 'update',
    PATCH: 'patch',
    DELETE: 'delete',
  };
  const first = path.split('/')[1] ?? '';
  const subresources: Record<string, string> = {
    stats: 'stats',
    metrics: 'metrics',
    logs: 'log',
    checkpoint: 'checkpoint',
    pods: 'pods',
    runningpods: 'pods',
    healthz: 'healthz',
    configz: 'configz',
  };
  return { verb: verbs[method] ?? 'get', subresource: subresources[first] ?? 'proxy' };
}

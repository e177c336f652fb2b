import type { SubjectAccessReview } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import type { IncomingMessage } from '../../wire/http/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletConfiguration } from '../config/kubelet-configuration.ts';
import { Authenticator, type Caller } from './authenticate.ts';
import { ReviewCache } from './review-cache.ts';
import { ServerError } from './server-error.ts';

/** What a request asks of the node; one of the subresources suffices. */
export interface Access {
  verb: string;
  /** From the narrowest to `proxy`. */
  subresources: string[];
}

/** Lets callers in: who they are is found out, then the API server says what they may. */
export class Gate {
  readonly #client: ApiClient | undefined;
  readonly #mode: string;
  readonly #nodeName: string;
  readonly #log: Logger;
  readonly #authenticator: Authenticator;
  readonly #decisions: ReviewCache<boolean>;

  constructor(options: {
    client: ApiClient | undefined;
    configuration: KubeletConfiguration;
    nodeName: string;
    clock: Clock;
    log: Logger;
  }) {
    const { client, configuration, clock } = options;
    this.#client = client;
    this.#mode = configuration.authorization.mode;
    this.#nodeName = options.nodeName;
    this.#log = options.log;
    this.#authenticator = new Authenticator(client, configuration, clock);
    const { cacheAuthorizedTTL, cacheUnauthorizedTTL } = configuration.authorization.webhook;
    const [allowedMs, deniedMs] = [durationMs(cacheAuthorizedTTL), durationMs(cacheUnauthorizedTTL)];
    this.#decisions = new ReviewCache(clock, (allowed) => (allowed ? allowedMs : deniedMs));
  }

  /**
   * Lets a request in, or not; `root` is the first part of its path.
   * @throws ServerError 401 for a stranger, 403 for someone who may not, 500 when the API server does not answer
   */
  async admit(request: IncomingMessage, root: string): Promise<Caller> {
    const caller = await this.#authenticator.identify(request).catch((error: unknown) => {
      this.#log.warn('cannot find out who asks', { path: root, error });
      return undefined;
    });
    if (!caller) throw new ServerError(401, 'Unauthorized');
    if (this.#mode === 'AlwaysAllow') return caller;
    const access = accessOf(request.method ?? 'GET', root);
    for (const subresource of access.subresources)
      if (await this.#decide(caller, access.verb, subresource)) return caller;
    throw new ServerError(
      403,
      `Forbidden (user=${caller.name}, verb=${access.verb}, resource=nodes, subresource(s)=[${access.subresources.join(' ')}])`,
    );
  }

  async #decide(caller: Caller, verb: string, subresource: string): Promise<boolean> {
    // Every API server allows its masters everything; without one there is nobody to ask.
    if (caller.groups.includes('system:masters')) return true;
    const client = this.#client;
    if (!client) return false;
    try {
      const key = JSON.stringify([caller, verb, subresource]);
      return await this.#decisions.get(key, () => review(client, caller, { verb, subresource, name: this.#nodeName }));
    } catch (error) {
      this.#log.warn('cannot ask what a caller may', { user: caller.name, verb, subresource, error });
      throw new ServerError(
        500,
        `Authorization error (user=${caller.name}, verb=${verb}, resource=nodes, subresource=${subresource})`,
      );
    }
  }
}

async function review(
  client: ApiClient,
  caller: Caller,
  { verb, subresource, name }: { verb: string; subresource: string; name: string },
): Promise<boolean> {
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: caller.name,
      groups: caller.groups,
      ...(caller.uid ? { uid: caller.uid } : {}),
      ...(caller.extra ? { extra: caller.extra } : {}),
      resourceAttributes: { verb, group: '', version: 'v1', resource: 'nodes', subresource, name },
    },
  };
  const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
  const response = await client.request('POST', path, { body, timeoutMs: 10_000 });
  const { status } = JSON.parse(response.body.toString()) as SubjectAccessReview;
  return (status?.allowed ?? false) && !status?.denied;
}

const verbs: Record<string, string> = { GET: 'get', POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };

/** What stands for a path in RBAC rules; the second of two is the one that older rules name. */
const subresources: Record<string, string[]> = {
  stats: ['stats'],
  metrics: ['metrics'],
  logs: ['log'],
  checkpoint: ['checkpoint'],
  statusz: ['statusz'],
  flagz: ['configz'],
  pods: ['pods', 'proxy'],
  runningpods: ['pods', 'proxy'],
  healthz: ['healthz', 'proxy'],
  configz: ['configz', 'proxy'],
};

/**
 * What a request asks of the node, as RBAC rules name it (nodes/stats, nodes/metrics, nodes/log, nodes/proxy …), by its
 * method and the first part of its path.
 */
export function accessOf(method: string, root: string): Access {
  return { verb: verbs[method] ?? '', subresources: subresources[root] ?? ['proxy'] };
}

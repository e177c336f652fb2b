import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type Pod, resources } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { type ProgramResult, runProgram } from '../../host/exec/index.ts';
import type { Logger } from '../../log/index.ts';
import { parseDuration } from '../config/duration.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { CredentialProvider, TokenAttributes } from './credential-provider-config.ts';
import type { ImageName } from './image-name.ts';
import { type CredentialEntries, type CredentialSource, matchLength } from './pull-secrets.ts';

/** What credential providers need. */
export interface CredentialProvidersOptions {
  client: ApiClient | undefined;
  metrics: KubeletMetrics;
  clock: Clock;
  log: Logger;
}

/** The longest a program may take, milliseconds. */
const programTimeoutMs = 60_000;

/** What of the pod goes into a request, and into the key of what is remembered. */
interface Identity {
  token?: string;
  annotations: Record<string, string>;
  source?: CredentialSource;
  key: string;
}

interface Cached {
  entries: CredentialEntries['entries'];
  expiresAt: number;
}

/**
 * Asks programs for logins (exec credential providers): a CredentialProviderRequest on standard input, a
 * CredentialProviderResponse on standard output, remembered for as long as it says, by image, registry or for all.
 */
export class CredentialProviders {
  readonly #options: CredentialProvidersOptions;
  #providers: readonly CredentialProvider[] = [];
  #binDirectory = '';
  readonly #cache = new Map<string, Cached>();
  readonly #running = new Map<string, Promise<CredentialEntries['entries']>>();

  constructor(options: CredentialProvidersOptions) {
    this.#options = options;
  }

  /** Uses these providers, whose programs are in the directory. */
  use(providers: readonly CredentialProvider[], binDirectory: string): void {
    this.#providers = providers;
    this.#binDirectory = binDirectory;
  }

  /** The logins that the providers whose patterns fit the image give. One that fails is told in the log, and gives none. */
  async entries(pod: Pod, image: ImageName): Promise<CredentialEntries[]> {
    const fitting = this.#providers.filter(({ matchImages }) =>
      matchImages.some((pattern) => matchLength(pattern, image) >= 0),
    );
    const found = await Promise.all(
      fitting.map(async (provider) => {
        try {
          return await this.#ask(provider, pod, `${image.registry}/${image.repository}`);
        } catch (error) {
          const { namespace, name } = pod.metadata;
          this.#options.metrics.count('kubelet_credential_provider_plugin_errors_total', {
            plugin_name: provider.name,
          });
          const fields = { provider: provider.name, image: image.full, pod: `${namespace}/${name}`, error };
          this.#options.log.warn('a credential provider gave no login', fields);
          return undefined;
        }
      }),
    );
    return found.filter((one) => one !== undefined);
  }

  async #ask(provider: CredentialProvider, pod: Pod, image: string): Promise<CredentialEntries | undefined> {
    const identity = await this.#identity(provider.tokenAttributes, pod);
    if (!identity) return undefined;
    const registry = image.split('/')[0]!;
    const now = this.#options.clock.now();
    for (const [key, { expiresAt }] of this.#cache) if (expiresAt <= now) this.#cache.delete(key);
    for (const base of [image, registry, '<global>']) {
      const known = this.#cache.get(cacheKey(provider, base, identity));
      if (known) return result(known.entries, identity);
    }
    // Pods that start together ask once.
    const key = cacheKey(provider, image, identity) + (identity.token ?? '');
    let running = this.#running.get(key);
    if (!running) {
      running = this.#run(provider, image, identity).finally(() => this.#running.delete(key));
      this.#running.set(key, running);
    }
    return result(await running, identity);
  }

  /** Whose login is asked for; undefined when the provider is not for this pod. */
  async #identity(tokens: TokenAttributes | undefined, pod: Pod): Promise<Identity | undefined> {
    if (!tokens) return { annotations: {}, key: '' };
    const { namespace = '', name = '', uid = '' } = pod.metadata;
    const account = pod.spec.serviceAccountName;
    const { client } = this.#options;
    if (!account || !client) {
      if (tokens.requireServiceAccount) return undefined;
      return { annotations: {}, key: '' };
    }
    const { metadata } = await client.get(resources.serviceaccounts, account, { namespace });
    const annotations: Record<string, string> = {};
    for (const key of tokens.requiredServiceAccountAnnotationKeys) {
      const value = metadata.annotations?.[key];
      if (value === undefined) return undefined;
      annotations[key] = value;
    }
    for (const key of tokens.optionalServiceAccountAnnotationKeys) {
      const value = metadata.annotations?.[key];
      if (value !== undefined) annotations[key] = value;
    }
    const token = await this.#token(client, { namespace, name, uid, account, accountUid: metadata.uid }, tokens);
    const parts = [namespace, account, metadata.uid, Object.entries(annotations).sort()];
    if (tokens.cacheType === 'Token') parts.push(createHash('sha256').update(token).digest('hex'));
    return {
      token,
      annotations,
      source: { serviceAccount: { uid: metadata.uid, namespace, name: account } },
      key: JSON.stringify(parts),
    };
  }

  async #token(
    client: ApiClient,
    pod: { namespace: string; name: string; uid: string; account: string; accountUid: string },
    tokens: TokenAttributes,
  ): Promise<string> {
    const path = `/api/v1/namespaces/${pod.namespace}/serviceaccounts/${pod.account}/token`;
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { uid: pod.accountUid },
      spec: {
        audiences: [tokens.serviceAccountTokenAudience],
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid },
      },
    };
    const response = await client.request('POST', path, { body });
    const { status } = JSON.parse(response.body.toString()) as { status?: { token?: string } };
    if (!status?.token) throw new Error(`the API server gave no token for service account ${pod.account}`);
    return status.token;
  }

  async #run(provider: CredentialProvider, image: string, identity: Identity): Promise<CredentialEntries['entries']> {
    const { clock, metrics } = this.#options;
    const request = {
      kind: 'CredentialProviderRequest',
      apiVersion: provider.apiVersion,
      image,
      ...(identity.token
        ? { serviceAccountToken: identity.token, serviceAccountAnnotations: identity.annotations }
        : {}),
    };
    const startedAt = clock.monotonic();
    const ended = await runProgram([join(this.#binDirectory, provider.name), ...provider.args], {
      input: JSON.stringify(request),
      environment: provider.env,
      timeoutMs: programTimeoutMs,
      clock,
      group: true,
    });
    const seconds = (clock.monotonic() - startedAt) / 1000;
    metrics.observe('kubelet_credential_provider_plugin_duration_seconds', seconds, { plugin_name: provider.name });
    const response = readResponse(ended, provider);
    const copied = Object.values(response.auth).some(({ password }) => password === identity.token);
    if (identity.token && copied && provider.tokenAttributes?.cacheType !== 'Token')
      throw new Error('the token of the service account came back as the password: that needs cacheType Token');
    const forMs = response.cacheMs ?? provider.defaultCacheMs;
    if (forMs > 0) {
      const base = { Image: image, Registry: image.split('/')[0]!, Global: '<global>' }[response.cacheKeyType];
      const cached = { entries: response.auth, expiresAt: clock.now() + forMs };
      this.#cache.set(cacheKey(provider, base, identity), cached);
    }
    return response.auth;
  }
}

function result(entries: CredentialEntries['entries'], { source }: Identity): CredentialEntries {
  return { entries, ...(source ? { source } : {}) };
}

function cacheKey(provider: CredentialProvider, base: string, identity: Identity): string {
  return JSON.stringify([provider.name, base, identity.key]);
}

interface Response {
  cacheKeyType: 'Image' | 'Registry' | 'Global';
  cacheMs?: number;
  auth: Record<string, { username: string; password: string }>;
}

/** Reads what a program said. Its output may hold secrets: no message shows it. */
export function readResponse(ended: ProgramResult, provider: CredentialProvider): Response {
  if (ended.timedOut) throw new Error(`did not end within ${programTimeoutMs / 1000} s`);
  if (ended.status !== 0)
    throw new Error(`ended with status ${ended.status}: ${ended.stderr.toString().slice(0, 1000).trim()}`);
  let said: Record<string, any>;
  try {
    said = JSON.parse(ended.stdout.toString());
  } catch {
    throw new Error('its output is not JSON');
  }
  if (said['kind'] !== 'CredentialProviderResponse' || said['apiVersion'] !== provider.apiVersion)
    throw new Error(
      `gave ${said['apiVersion']} ${said['kind']} where CredentialProviderResponse of ${provider.apiVersion} is wanted`,
    );
  const { cacheKeyType, cacheDuration, auth } = said;
  if (!['Image', 'Registry', 'Global'].includes(cacheKeyType))
    throw new Error(`cacheKeyType must be Image, Registry or Global, not ${JSON.stringify(cacheKeyType)}`);
  const cacheMs =
    cacheDuration === undefined || cacheDuration === null ? undefined : parseDuration(String(cacheDuration));
  if (cacheDuration && cacheMs === undefined) throw new Error('cacheDuration is not a duration');
  const logins: Response['auth'] = {};
  for (const [key, login] of Object.entries((auth ?? {}) as Record<string, { username?: string; password?: string }>))
    logins[key] = { username: String(login?.username ?? ''), password: String(login?.password ?? '') };
  return { cacheKeyType, ...(cacheMs === undefined ? {} : { cacheMs }), auth: logins };
}

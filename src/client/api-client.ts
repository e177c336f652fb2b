import { readFile, stat } from 'node:fs/promises';
import type { ApiObject, Draft, ListMeta, Resource } from '../api/index.ts';
import { type Clock, systemClock, TokenBucket } from '../async/index.ts';
import { HttpClient, type HttpResponse, type IncomingMessage } from '../wire/http/index.ts';
import { ApiError } from './api-error.ts';
import type { ClientConfig } from './kubeconfig.ts';

/** Which objects a list or watch takes. */
export interface SelectOptions {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  resourceVersion?: string;
  signal?: AbortSignal;
}

/** One change of a watch. */
export interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}

/** Kinds of patch, and the media types that say so. */
export const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

interface WriteOptions {
  namespace?: string;
  subresource?: string;
  /** Name in the path, for subresources of an object (binding, eviction, token). */
  name?: string;
  dryRun?: boolean;
  fieldManager?: string;
  signal?: AbortSignal;
}

/** Told of an answer: its status (or Node's code, where there was none) and how long it took, milliseconds. */
export type AnswerListener = (answer: { method: string; path: string; code: string; durationMs: number }) => void;

/** Talks to an API server. Every method throws ApiError for an answer other than success, HttpError without an answer. */
export interface ApiClient {
  readonly config: ClientConfig;
  get<T extends ApiObject>(
    resource: Resource<T>,
    name: string,
    options?: { namespace?: string; signal?: AbortSignal },
  ): Promise<T>;
  list<T extends ApiObject>(
    resource: Resource<T>,
    options?: SelectOptions & { limit?: number; continue?: string },
  ): Promise<{ items: T[]; metadata: ListMeta }>;
  create<T extends ApiObject>(resource: Resource<T>, draft: Draft<T>, options?: WriteOptions): Promise<T>;
  update<T extends ApiObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends ApiObject>(
    resource: Resource<T>,
    name: string,
    patch: object,
    options: WriteOptions & { type: keyof typeof patchTypes; force?: boolean },
  ): Promise<T>;
  delete<T extends ApiObject>(
    resource: Resource<T>,
    name: string,
    options?: {
      namespace?: string;
      gracePeriodSeconds?: number;
      uid?: string;
      resourceVersion?: string;
      propagationPolicy?: string;
      signal?: AbortSignal;
    },
  ): Promise<void>;
  /** Yields changes until the server ends the watch; an ERROR event is thrown as ApiError. */
  watch<T extends ApiObject>(
    resource: Resource<T>,
    options?: SelectOptions & { sendInitialEvents?: boolean; timeoutSeconds?: number },
  ): AsyncIterable<WatchEvent<T>>;
  /** Any request; an object as body is sent as JSON. */
  request(
    method: string,
    path: string,
    options?: { body?: object | string; headers?: Record<string, string>; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<HttpResponse>;
  /** Like request(), but gives the answer as soon as its header is there (logs that are followed). */
  stream(
    method: string,
    path: string,
    options?: { headers?: Record<string, string>; signal?: AbortSignal },
  ): Promise<IncomingMessage>;
  /** Takes other credentials (or another address) for what is sent from now on; what is under way goes on as it is. */
  reconfigure(config: ClientConfig): void;
  /** Has every answer told from now on, also those of limited clients: for metrics. */
  observe(listener: AnswerListener): void;
  /** The same client with a limit on how many requests are sent: the rest wait. A bucket may be changed later. */
  limited(rate: { perSecond: number; burst: number } | TokenBucket): ApiClient;
  close(): void;
}

/** The path of a resource, of one object, or of a subresource. */
export function resourcePath(
  resource: Resource<any>,
  where: { namespace?: string; name?: string; subresource?: string } = {},
): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const namespace = resource.namespaced && where.namespace ? `/namespaces/${encodeURIComponent(where.namespace)}` : '';
  const name = where.name ? `/${encodeURIComponent(where.name)}` : '';
  return `${root}${namespace}/${resource.plural}${name}${where.subresource ? `/${where.subresource}` : ''}`;
}

function query(parameters: Record<string, string | number | boolean | undefined>): string {
  const text = Object.entries(parameters)
    .filter(([, value]) => value !== undefined && value !== '' && value !== false)
    .map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`)
    .join('&');
  return text === '' ? '' : `?${text}`;
}

/** How long an answer is waited for, milliseconds: a server that has vanished without a word must not hold up a caller for good. */
const answerTimeoutMs = 60_000;

/** Connects to an API server; nothing is sent before the first call. */
export function createClient(config: ClientConfig, context: { clock?: Clock } = {}): ApiClient {
  return new RestClient({ config, http: connect(config), token: undefined }, context.clock ?? systemClock);
}

function connect(config: ClientConfig): HttpClient {
  return new HttpClient({
    baseUrl: config.server,
    ...(config.ca ? { ca: config.ca } : {}),
    ...(config.cert ? { cert: config.cert } : {}),
    ...(config.key ? { key: config.key } : {}),
    ...(config.serverName ? { serverName: config.serverName } : {}),
    ...(config.insecureSkipTlsVerify ? { insecureSkipTlsVerify: true } : {}),
  });
}

/** What a client and the limited ones made from it have in common. */
interface Connection {
  config: ClientConfig;
  http: HttpClient;
  token: { value: string; readAt: number; changedAt: number } | undefined;
  listener?: AnswerListener;
}

class RestClient implements ApiClient {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #bucket: TokenBucket | undefined;

  constructor(connection: Connection, clock: Clock, bucket?: TokenBucket) {
    this.#connection = connection;
    this.#clock = clock;
    this.#bucket = bucket;
  }

  get config(): ClientConfig {
    return this.#connection.config;
  }

  reconfigure(config: ClientConfig): void {
    const { http: before } = this.#connection;
    Object.assign(this.#connection, { config, http: connect(config), token: undefined });
    before.retire();
  }

  observe(listener: AnswerListener): void {
    this.#connection.listener = listener;
  }

  limited(rate: { perSecond: number; burst: number } | TokenBucket): ApiClient {
    const bucket = rate instanceof TokenBucket ? rate : new TokenBucket({ ...rate, clock: this.#clock });
    return new RestClient(this.#connection, this.#clock, bucket);
  }

  async get<T extends ApiObject>(
    resource: Resource<T>,
    name: string,
    options: { namespace?: string; signal?: AbortSignal } = {},
  ): Promise<T> {
    return this.#json('GET', resourcePath(resource, { ...options, name }), undefined, options.signal);
  }

  async list<T extends ApiObject>(
    resource: Resource<T>,
    options: SelectOptions & { limit?: number; continue?: string } = {},
  ): Promise<{ items: T[]; metadata: ListMeta }> {
    const { labelSelector, fieldSelector, resourceVersion, limit } = options;
    const path = `${resourcePath(resource, options)}${query({ labelSelector, fieldSelector, resourceVersion, limit, continue: options.continue })}`;
    const list = await this.#json<{ items: T[] | null; metadata: ListMeta }>('GET', path, undefined, options.signal);
    const items = list.items ?? [];
    // Items of a list carry no type of their own.
    for (const item of items) {
      item.apiVersion ??= resource.apiVersion;
      item.kind ??= resource.kind;
    }
    return { items, metadata: list.metadata };
  }

  async create<T extends ApiObject>(resource: Resource<T>, draft: Draft<T>, options: WriteOptions = {}): Promise<T> {
    const where = { ...options, namespace: options.namespace ?? draft.metadata?.namespace };
    return this.#json(
      'POST',
      `${resourcePath(resource, where)}${writeQuery(options)}`,
      { apiVersion: resource.apiVersion, kind: resource.kind, ...draft },
      options.signal,
    );
  }

  async update<T extends ApiObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = `${resourcePath(resource, { ...(namespace ? { namespace } : {}), name, ...(options.subresource ? { subresource: options.subresource } : {}) })}${writeQuery(options)}`;
    return this.#json('PUT', path, { ...object, apiVersion: resource.apiVersion, kind: resource.kind }, options.signal);
  }

  async patch<T extends ApiObject>(
    resource: Resource<T>,
    name: string,
    patch: object,
    options: WriteOptions & { type: keyof typeof patchTypes; force?: boolean },
  ): Promise<T> {
    const path = `${resourcePath(resource, { ...options, name })}${writeQuery(options, { force: options.force })}`;
    return this.#json('PATCH', path, patch, options.signal, patchTypes[options.type]);
  }

  async delete<T extends ApiObject>(
    resource: Resource<T>,
    name: string,
    options: {
      namespace?: string;
      gracePeriodSeconds?: number;
      uid?: string;
      resourceVersion?: string;
      propagationPolicy?: string;
      signal?: AbortSignal;
    } = {},
  ): Promise<void> {
    const { gracePeriodSeconds, uid, resourceVersion, propagationPolicy } = options;
    await this.#json(
      'DELETE',
      resourcePath(resource, { ...options, name }),
      {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        ...(gracePeriodSeconds !== undefined ? { gracePeriodSeconds } : {}),
        ...(propagationPolicy ? { propagationPolicy } : {}),
        ...(uid || resourceVersion
          ? { preconditions: { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) } }
          : {}),
      },
      options.signal,
    );
  }

  async *watch<T extends ApiObject>(
    resource: Resource<T>,
    options: SelectOptions & { sendInitialEvents?: boolean; timeoutSeconds?: number } = {},
  ): AsyncIterable<WatchEvent<T>> {
    const { labelSelector, fieldSelector, resourceVersion, sendInitialEvents, timeoutSeconds, signal } = options;
    const initial = sendInitialEvents ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' } : {};
    const path = `${resourcePath(resource, options)}${query({ watch: 1, allowWatchBookmarks: true, labelSelector, fieldSelector, resourceVersion, timeoutSeconds, ...initial })}`;
    const message = await this.stream('GET', path, signal ? { signal } : {});
    try {
      for await (const line of readLines(message)) {
        const event = JSON.parse(line) as WatchEvent<T>;
        if (event.type === 'ERROR') throw new ApiError(event.object as never);
        yield event;
      }
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    } finally {
      message.destroy();
    }
  }

  async request(
    method: string,
    path: string,
    options: {
      body?: object | string;
      headers?: Record<string, string>;
      signal?: AbortSignal;
      timeoutMs?: number;
    } = {},
  ): Promise<HttpResponse> {
    await this.#bucket?.take(options.signal);
    const body = typeof options.body === 'object' ? JSON.stringify(options.body) : options.body;
    const headers = {
      ...(await this.#headers()),
      ...(body !== undefined ? { 'content-type': 'application/json' } : {}),
      ...options.headers,
    };
    const response = await this.#tell(method, path, () =>
      this.#connection.http.request({
        ...{ method, path, headers },
        ...(body !== undefined ? { body } : {}),
        ...(options.signal ? { signal: options.signal } : {}),
        ...(options.timeoutMs !== undefined ? { timeoutMs: options.timeoutMs } : {}),
      }),
    );
    if (response.status >= 300) throw ApiError.fromResponse(response.status, response.body);
    return response;
  }

  async stream(
    method: string,
    path: string,
    options: { headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<IncomingMessage> {
    await this.#bucket?.take(options.signal);
    const headers = { ...(await this.#headers()), ...options.headers };
    const message = await this.#tell(method, path, () =>
      this.#connection.http.stream({ method, path, headers, ...(options.signal ? { signal: options.signal } : {}) }),
    );
    if (message.statusCode! < 300) return message;
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk as Buffer);
    throw ApiError.fromResponse(message.statusCode!, Buffer.concat(chunks));
  }

  async #tell<T extends { status?: number; statusCode?: number | undefined }>(
    method: string,
    path: string,
    send: () => Promise<T>,
  ): Promise<T> {
    const startedAt = this.#clock.monotonic();
    const tell = (code: string) =>
      this.#connection.listener?.({ method, path, code, durationMs: this.#clock.monotonic() - startedAt });
    try {
      const answer = await send();
      tell(String(answer.status ?? answer.statusCode));
      return answer;
    } catch (error) {
      tell((error as { code?: string }).code ?? '<error>');
      throw error;
    }
  }

  close(): void {
    this.#connection.http.close();
  }

  async #json<T>(method: string, path: string, body?: object, signal?: AbortSignal, contentType?: string): Promise<T> {
    const response = await this.request(method, path, {
      timeoutMs: answerTimeoutMs,
      ...(body ? { body } : {}),
      ...(signal ? { signal } : {}),
      ...(contentType ? { headers: { 'content-type': contentType } } : {}),
    });
    return JSON.parse(response.body.toString()) as T;
  }

  async #headers(): Promise<Record<string, string>> {
    const token =
      this.config.token ?? (this.config.tokenFile ? await this.#readToken(this.config.tokenFile) : undefined);
    return {
      accept: 'application/json',
      'user-agent': this.config.userAgent ?? 'deckhand',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    };
  }

  /** Looks at the file at most once a second; kubelets replace tokens in place. */
  async #readToken(file: string): Promise<string> {
    const now = this.#clock.monotonic();
    const known = this.#connection.token;
    if (known && now - known.readAt < 1_000) return known.value;
    const { mtimeMs } = await stat(file);
    const value = known?.changedAt === mtimeMs ? known.value : (await readFile(file, 'utf8')).trim();
    this.#connection.token = { value, readAt: now, changedAt: mtimeMs };
    return value;
  }
}

function writeQuery(options: WriteOptions, more: Record<string, boolean | undefined> = {}): string {
  return query({ ...(options.dryRun ? { dryRun: 'All' } : {}), fieldManager: options.fieldManager, ...more });
}

/** The lines of a byte stream; lines and characters may be split anywhere between chunks. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  let rest: Buffer[] = [];
  for await (const part of chunks) {
    let chunk = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10)) {
      const line = rest.length === 0 ? chunk.subarray(0, end) : Buffer.concat([...rest, chunk.subarray(0, end)]);
      rest = [];
      chunk = chunk.subarray(end + 1);
      if (line.length > 0) yield line.toString();
    }
    if (chunk.length > 0) rest.push(chunk);
  }
}

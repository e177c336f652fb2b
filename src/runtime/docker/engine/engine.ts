import type { Duplex } from 'node:stream';
import type { Clock } from '../../../async/index.ts';
import { HttpClient, HttpError, type IncomingMessage } from '../../../wire/http/index.ts';
import { RuntimeError } from '../../errors.ts';
import { EngineError, plainMessage } from './engine-error.ts';
import type { EngineInfo } from './engine-types.ts';

/** Versions of the Engine API that are spoken here; between them the engine's own is taken. */
const versions = { least: '1.41', most: '1.47' } as const;

/** Values of a URL's query; what is undefined is left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** What a call carries. */
export interface CallOptions {
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Milliseconds. Default: two minutes. */
  timeoutMs?: number;
}

/** Engines answer within this time or are taken for hung, milliseconds. */
const patienceMs = 120_000;

/** A Docker Engine behind its unix socket. */
export class Engine {
  readonly #http: HttpClient;
  readonly #socket: string;
  #version: string | undefined;
  /** What does not change while the engine runs. */
  #setup: Promise<EngineInfo> | undefined;

  constructor(endpoint: string, clock: Clock) {
    this.#socket = endpoint.replace(/^unix:(\/\/)?/, '');
    this.#http = new HttpClient({ socketPath: this.#socket, clock });
  }

  /** The API version in use. @throws RuntimeError UNAVAILABLE, or FAILED_PRECONDITION for an engine that is too old */
  async negotiate(signal?: AbortSignal): Promise<string> {
    if (this.#version) return this.#version;
    const answer = await this.#reach(() =>
      this.#http.request({ path: '/_ping', timeoutMs: 10_000, ...(signal ? { signal } : {}) }),
    );
    const offered = String(answer.headers['api-version'] ?? '');
    if (answer.status !== 200 || offered === '')
      throw new RuntimeError(
        'UNAVAILABLE',
        `${this.#socket} does not answer as a Docker Engine does (status ${answer.status})`,
      );
    if (compareVersions(offered, versions.least) < 0)
      throw new RuntimeError(
        'FAILED_PRECONDITION',
        `the Docker Engine at ${this.#socket} speaks API ${offered}: ${versions.least} (Docker 20.10) is the oldest that will do`,
      );
    this.#version = compareVersions(offered, versions.most) < 0 ? offered : versions.most;
    return this.#version;
  }

  /** Whether the engine knows a version of its API. */
  async speaks(version: string): Promise<boolean> {
    return compareVersions(await this.negotiate(), version) >= 0;
  }

  /** How the engine is set up: drivers and runtimes. Asked once, and again when it has gone and come back. */
  setup(): Promise<EngineInfo> {
    this.#setup ??= this.get<EngineInfo>('/info').catch((error: unknown) => {
      this.#setup = undefined;
      throw error;
    });
    return this.#setup;
  }

  get<T>(path: string, query: Query = {}, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('GET', path, { ...options, query });
  }

  post<T = void>(path: string, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('POST', path, options);
  }

  delete<T = void>(path: string, query: Query = {}): Promise<T> {
    return this.#call<T>('DELETE', path, { query });
  }

  /** An answer whose body goes on coming. @throws RuntimeError */
  async stream(method: string, path: string, options: CallOptions = {}): Promise<IncomingMessage> {
    const request = await this.#request(method, path, options);
    const message = await this.#reach(() => this.#http.stream(request));
    if (message.statusCode! < 400) return message;
    throw failure(message.statusCode!, await readAll(message));
  }

  /** Takes over the connection: both ways carry what the container reads and writes. @throws RuntimeError */
  async hijack(path: string, options: CallOptions = {}): Promise<{ socket: Duplex; head: Buffer }> {
    const headers = { ...options.headers, connection: 'Upgrade', upgrade: 'tcp' };
    const request = await this.#request('POST', path, { ...options, headers });
    const answer = await this.#reach(() => this.#http.upgrade(request));
    if ('refused' in answer) throw failure(answer.refused.statusCode!, await readAll(answer.refused));
    return answer;
  }

  /** It may come back as another one. */
  forget(): void {
    this.#version = undefined;
    this.#setup = undefined;
  }

  close(): void {
    this.#http.close();
  }

  async #call<T>(method: string, path: string, options: CallOptions): Promise<T> {
    const request = await this.#request(method, path, options);
    const { status, body } = await this.#reach(() =>
      this.#http.request({ ...request, timeoutMs: options.timeoutMs ?? patienceMs }),
    );
    if (status >= 400) throw failure(status, body.toString('utf8'));
    return (body.length > 0 && status !== 304 ? parse(body) : undefined) as T;
  }

  async #request(method: string, path: string, { query, body, headers, signal }: CallOptions) {
    const version = await this.negotiate(signal);
    const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, String(value)]));
    return {
      method,
      path: `/v${version}${path}${pairs.length > 0 ? `?${search}` : ''}`,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': contentType(body) }) },
      ...(body === undefined ? {} : { body: body instanceof Uint8Array ? body : JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    };
  }

  async #reach<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (!(cause instanceof HttpError)) throw cause;
      if (cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT') this.forget();
      throw new RuntimeError('UNAVAILABLE', `the Docker Engine does not answer: ${cause.message}`, { cause });
    }
  }
}

const contentType = (body: unknown): string => (body instanceof Uint8Array ? 'application/x-tar' : 'application/json');

function parse(body: Buffer): unknown {
  const text = body.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function failure(status: number, text: string): EngineError {
  let message = text.trim();
  try {
    message = (JSON.parse(text) as { message?: string }).message ?? message;
  } catch {
    // Not every error is a document.
  }
  return new EngineError(status, plainMessage(message) || `the Docker Engine answered with status ${status}`);
}

async function readAll(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** Compares `1.41` with `1.9`. */
export function compareVersions(left: string, right: string): number {
  const [a, b] = [left, right].map((one) => one.split('.').map(Number)) as [number[], number[]];
  return (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0);
}

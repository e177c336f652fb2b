import type { Clock } from '../../async/index.ts';
import { HttpClient, HttpError, type IncomingMessage } from '../../wire/http/index.ts';
import { checkDigest, hashFor } from './digest.ts';
import { type Descriptor, mediaTypes } from './image-documents.ts';
import { ImageError } from './image-error.ts';
import { basicAuthorization, type RegistryEndpoint } from './registries/registry-config.ts';

/** Largest manifest or configuration that is read, bytes. */
const longestDocument = 8 * 1024 * 1024;

/** Tries at one request, and the first wait between them, milliseconds (doubling). */
const retries = { count: 4, firstWaitMs: 100 };

/** How long a server may be silent in the middle of a blob before the connection counts as broken, milliseconds. */
const silenceMs = 60_000;

/** Longest wait that a server may ask for between tries, milliseconds. */
const longestWaitMs = 30_000;

/** How long a server may take to begin an answer, milliseconds. */
const answerTimeoutMs = 30_000;

/** How often a server may send a request on to another place. */
const mostRedirects = 10;

/** How a registry is talked to. */
export interface RegistryClientOptions {
  clock: Clock;
  /** How long a server may be silent in the middle of a blob before the connection counts as broken. Default 60 s. */
  silenceMs?: number;
  /** Told of what comes. */
  onBytes?: (count: number) => void;
}

/** A repository on one server: the pull half of the OCI distribution specification 1.1. */
export class RegistryClient {
  readonly #endpoint: RegistryEndpoint;
  readonly #options: RegistryClientOptions;
  readonly #clock: Clock;
  readonly #silenceMs: number;
  readonly #http: HttpClient;
  /** For the places that a registry sends on to: our certificate is not for them. */
  #elsewhere: HttpClient | undefined;
  #authorization: string | undefined;

  constructor(endpoint: RegistryEndpoint, options: RegistryClientOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#clock = options.clock;
    this.#silenceMs = options.silenceMs ?? silenceMs;
    const { cert, key } = endpoint;
    this.#http = this.#connect({ ...(cert ? { cert } : {}), ...(key ? { key } : {}) });
    if (endpoint.auth?.registryToken) this.#authorization = `Bearer ${endpoint.auth.registryToken}`;
  }

  /** A manifest or index by tag or digest. A digest is checked. */
  async manifest(tagOrDigest: string, signal?: AbortSignal): Promise<{ body: Buffer; mediaType: string }> {
    const accept = [...mediaTypes.index, ...mediaTypes.manifest].join(', ');
    const { message, body } = await this.#document(`manifests/${tagOrDigest}`, { accept }, signal);
    const promised = tagOrDigest.includes(':') ? tagOrDigest : message.headers['docker-content-digest'];
    if (typeof promised === 'string' && promised !== '')
      checkDigest(hashFor(promised).update(body), promised, `manifest ${tagOrDigest}`);
    return { body, mediaType: message.headers['content-type']?.split(';')[0] ?? '' };
  }

  /** A small blob (an image configuration), checked. */
  async document(digest: string, signal?: AbortSignal): Promise<Buffer> {
    hashFor(digest);
    const { body } = await this.#document(`blobs/${digest}`, {}, signal);
    checkDigest(hashFor(digest).update(body), digest, `blob ${digest}`);
    return body;
  }

  /**
   * A blob as a stream. A connection that breaks is taken up where it broke; the digest is checked at the end. A layer
   * that may not be distributed is fetched from the addresses that its descriptor has, when the registry has it not.
   */
  async *blob(descriptor: Descriptor, signal?: AbortSignal): AsyncIterable<Buffer> {
    const { digest, size, urls = [] } = descriptor;
    const places = [this.#url(`blobs/${digest}`), ...urls.filter((url) => /^https?:\/\//.test(url))];
    for (const [at, place] of places.entries()) {
      try {
        return yield* this.#blob(place, digest, size, signal);
      } catch (error) {
        // Only where nothing has come yet is there another choice.
        const isMissing = error instanceof ImageError && ['NOT_FOUND', 'UNAVAILABLE'].includes(error.code);
        if (!isMissing || at === places.length - 1 || signal?.aborted || (error as BlobError).begun) throw error;
      }
    }
  }

  async *#blob(place: string, digest: string, size: number, signal?: AbortSignal): AsyncIterable<Buffer> {
    const hash = hashFor(digest);
    let received = 0;
    for (let failures = 0; received < size || size === 0; ) {
      const before = received;
      try {
        const message = await this.#get(place, received > 0 ? { range: `bytes=${received}-` } : {}, signal);
        // A server that does not know ranges begins anew: skip what is here already.
        let skip = received > 0 && message.statusCode !== 206 ? received : 0;
        for await (const chunk of this.#watched(message)) {
          const piece = skip > 0 ? chunk.subarray(Math.min(skip, chunk.length)) : chunk;
          skip -= chunk.length - piece.length;
          if (piece.length === 0) continue;
          received += piece.length;
          if (received > size) throw new ImageError('DATA_LOSS', `blob ${digest} is longer than its ${size} bytes`);
          hash.update(piece);
          yield piece;
        }
        if (received < size)
          throw new HttpError('ECONNRESET', `blob ${digest} ended after ${received} of ${size} bytes`);
        break;
      } catch (error) {
        if (error instanceof ImageError && received > 0) (error as BlobError).begun = true;
        if (signal?.aborted || error instanceof ImageError || received === size) throw error;
        failures = received > before ? 1 : failures + 1;
        if (failures >= retries.count)
          throw Object.assign(unavailable(this.#endpoint.baseUrl, error), { begun: received > 0 });
        await this.#clock.sleep(retries.firstWaitMs * 2 ** failures, signal);
      }
    }
    checkDigest(hash, digest, `blob ${digest}`);
  }

  /** A whole answer; asked for again when the connection breaks in the middle of it. */
  async #document(
    path: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<{ message: IncomingMessage; body: Buffer }> {
    for (let failures = 1; ; failures++) {
      const message = await this.#get(this.#url(path), headers, signal);
      try {
        return { message, body: await readAll(this.#watched(message), longestDocument) };
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (error instanceof ImageError) throw error;
        if (failures >= retries.count) throw unavailable(this.#endpoint.baseUrl, error);
        await this.#clock.sleep(retries.firstWaitMs * 2 ** failures, signal);
      }
    }
  }

  /** Whether the server is there and lets us in. @throws ImageError when not */
  async ping(signal?: AbortSignal): Promise<void> {
    const message = await this.#get(this.#base('/v2/'), {}, signal);
    message.resume();
  }

  close(): void {
    this.#http.close();
    this.#elsewhere?.close();
  }

  #connect(own: { cert?: string; key?: string }): HttpClient {
    const { baseUrl, ca, insecureSkipTlsVerify } = this.#endpoint;
    return new HttpClient({
      baseUrl,
      trustSystem: true,
      ...own,
      ...(ca ? { ca } : {}),
      ...(insecureSkipTlsVerify ? { insecureSkipTlsVerify } : {}),
    });
  }

  /** The body of an answer; fails when nothing comes for too long while it is waited for. */
  async *#watched(message: IncomingMessage): AsyncIterable<Buffer> {
    const chunks = message[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    try {
      for (;;) {
        const timer = this.#clock.after(this.#silenceMs, () =>
          message.destroy(new HttpError('ETIMEDOUT', `nothing came for ${this.#silenceMs / 1000} seconds`)),
        );
        const { value, done } = await chunks.next().finally(() => timer.cancel());
        if (done) return;
        this.#options.onBytes?.(value.length);
        yield value;
      }
    } finally {
      message.destroy();
    }
  }

  async #get(own: string, headers: Record<string, string>, signal?: AbortSignal): Promise<IncomingMessage> {
    let asked = false;
    let [url, redirects] = [own, 0];
    for (let failures = 0; ; ) {
      const { message, error } = await this.#tryGet(url, headers, signal);
      const status = message?.statusCode ?? 0;
      if (message && (status === 200 || status === 206)) return message;
      if (message && status >= 300 && status < 400 && message.headers.location) {
        message.resume();
        if (++redirects > mostRedirects)
          throw new ImageError('UNAVAILABLE', `stopped after ${mostRedirects} redirects from ${own}`);
        url = redirectTarget(message.headers.location, url);
        continue;
      }
      if (message && status === 401 && !asked && sameOrigin(url, own)) {
        message.resume();
        await this.#authorize(message.headers['www-authenticate'] ?? '', signal);
        asked = true;
        continue;
      }
      const temporary = !message || status === 429 || status >= 500;
      if (message && !temporary) throw await refusal(url, message);
      if (++failures >= retries.count)
        throw message ? await refusal(url, message) : unavailable(this.#endpoint.baseUrl, error);
      message?.resume();
      const wait = this.#askedWait(message) ?? retries.firstWaitMs * 2 ** failures;
      await this.#clock.sleep(Math.min(Math.max(wait, 0), longestWaitMs), signal);
      // What a redirect led to may have been good for a moment only: ask again where it came from.
      [url, redirects] = [own, 0];
    }
  }

  /** What the server says of when to come again: seconds, or a date (RFC 9110, 10.2.3). */
  #askedWait(message: IncomingMessage | undefined): number | undefined {
    const asked = message?.headers['retry-after'];
    if (!asked) return undefined;
    if (/^\d+$/.test(asked)) return Number(asked) * 1000;
    const date = Date.parse(asked);
    return Number.isNaN(date) ? undefined : date - this.#clock.now();
  }

  #url(path: string): string {
    const { namespace, repository } = this.#endpoint;
    const query = namespace ? `?ns=${encodeURIComponent(namespace)}` : '';
    return `${this.#base(`/v2/${repository}/${path}`)}${query}`;
  }

  /** The address of a path that begins with /v2. A server's own path may have that already, or stand in its place. */
  #base(path: string): string {
    const url = new URL(this.#endpoint.baseUrl);
    const prefix = url.pathname.replace(/\/$/, '');
    const inPlace = this.#endpoint.overridePath || prefix.endsWith('/v2');
    return `${url.origin}${prefix}${inPlace ? path.slice('/v2'.length) : path}`;
  }

  async #tryGet(
    url: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<{ message?: IncomingMessage; error?: unknown }> {
    // A blob may be stored elsewhere; credentials and the fields meant for the registry are not sent there.
    const home = sameOrigin(url, this.#endpoint.baseUrl);
    if (!home) this.#elsewhere ??= this.#connect({});
    const sent = {
      'user-agent': 'deckhand',
      ...(home ? this.#endpoint.headers : {}),
      ...headers,
      ...(home && this.#authorization ? { authorization: this.#authorization } : {}),
    };
    try {
      return {
        message: await (home ? this.#http : this.#elsewhere!).stream({
          path: url,
          headers: sent,
          timeoutMs: this.#endpoint.answerTimeoutMs ?? answerTimeoutMs,
          ...(signal ? { signal } : {}),
        }),
      };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      // Nobody listens, or the name is unknown: waiting a little changes nothing.
      if (error instanceof HttpError && ['ECONNREFUSED', 'ENOTFOUND'].includes(error.code))
        throw unavailable(this.#endpoint.baseUrl, error);
      return { error };
    }
  }

  /** Answers a challenge (RFC 7235; Docker's token specification). */
  async #authorize(challenge: string, signal?: AbortSignal): Promise<void> {
    const { auth } = this.#endpoint;
    const basic = basicAuthorization(auth);
    // A server may offer several ways; a token is the better one.
    const bearer = /\bbearer\s+(.*)$/i.exec(challenge)?.[1];
    if (bearer === undefined && /\bbasic\b/i.test(challenge)) {
      if (!basic) throw denied('no basic auth credentials');
      this.#authorization = basic;
      return;
    }
    const parameters = Object.fromEntries(
      [...(bearer ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key!.toLowerCase(), value]),
    );
    if (!parameters['realm']) throw denied(`the registry asks for ${challenge || 'nothing known'}`);
    const scope = parameters['scope'] ?? `repository:${this.#endpoint.repository}:pull`;
    const query = new URLSearchParams({ scope, ...(parameters['service'] ? { service: parameters['service'] } : {}) });
    this.#authorization = `Bearer ${await this.#token(parameters['realm'], query, signal)}`;
  }

  async #token(realm: string, query: URLSearchParams, signal?: AbortSignal): Promise<string> {
    const { auth } = this.#endpoint;
    const basic = basicAuthorization(auth);
    if (!/^https?:\/\//.test(realm)) throw denied(`the registry names ${JSON.stringify(realm)} as its token server`);
    const limits = { timeoutMs: answerTimeoutMs, ...(signal ? { signal } : {}) };
    const request = auth?.identityToken
      ? {
          method: 'POST',
          path: realm,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: `${query}&grant_type=refresh_token&client_id=deckhand&refresh_token=${encodeURIComponent(auth.identityToken)}`,
        }
      : {
          path: `${realm}${realm.includes('?') ? '&' : '?'}${query}`,
          headers: { ...(basic ? { authorization: basic } : {}) },
        };
    const response = await this.#http.request({ ...request, ...limits }).catch((error: unknown) => {
      throw signal?.aborted ? signal.reason : unavailable(realm, error);
    });
    const text = response.body.toString();
    if (response.status === 429 || response.status >= 500)
      throw unavailable(realm, new Error(`unexpected status from GET request: ${response.status}`));
    if (response.status !== 200) throw denied(`token request answered ${response.status}: ${text.slice(0, 200)}`);
    let answer: { token?: unknown; access_token?: unknown } | null = null;
    try {
      answer = JSON.parse(text);
    } catch {
      // Said below.
    }
    const token = answer?.token || answer?.access_token;
    if (typeof token !== 'string') throw denied('the token server gave no token');
    return token;
  }
}

/** A failure to fetch a blob, and whether some of it had come. */
type BlobError = ImageError & { begun?: boolean };

async function refusal(url: string, message: IncomingMessage): Promise<ImageError> {
  const body = (await readAll(message, 64 * 1024).catch(() => Buffer.alloc(0))).toString();
  const status = message.statusCode!;
  if (status === 404) return new ImageError('NOT_FOUND', 'not found');
  if (status === 401 || status === 403)
    return denied(
      status === 401 ? 'authorization failed: no basic auth credentials' : 'insufficient_scope: authorization failed',
      status === 401 ? 'UNAUTHENTICATED' : 'PERMISSION_DENIED',
    );
  return new ImageError(
    'UNAVAILABLE',
    `unexpected status ${status} from GET request to ${new URL(url).origin}${new URL(url).pathname}: ${body.slice(0, 200)}`,
  );
}

function sameOrigin(one: string, other: string): boolean {
  return new URL(one).origin === new URL(other).origin;
}

/** Where a redirect leads. @throws ImageError when that is no web address */
function redirectTarget(location: string, from: string): string {
  const target = URL.parse(location, from);
  if (target && /^https?:$/.test(target.protocol)) return target.href;
  throw new ImageError('UNAVAILABLE', `${from} redirects to ${JSON.stringify(location)}, which cannot be fetched`);
}

function denied(why: string, code: 'UNAUTHENTICATED' | 'PERMISSION_DENIED' = 'UNAUTHENTICATED'): ImageError {
  return new ImageError(
    code,
    `pull access denied, repository does not exist or may require authorization: server message: ${why}`,
  );
}

function unavailable(server: string, cause: unknown): ImageError {
  return new ImageError(
    'UNAVAILABLE',
    `failed to do request to ${server}: ${cause instanceof Error ? cause.message : String(cause)}`,
    { cause },
  );
}

async function readAll(message: AsyncIterable<Buffer>, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of message) {
    length += chunk.length;
    if (length > most) throw new ImageError('RESOURCE_EXHAUSTED', `answer is longer than ${most} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

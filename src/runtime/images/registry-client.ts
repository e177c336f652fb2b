import type { Clock } from '../../async/index.ts';
import { HttpClient, HttpError, type IncomingMessage } from '../../wire/http/index.ts';
import { checkDigest, hashFor } from './digest.ts';
import { ImageError } from './image-error.ts';
import { basicAuthorization, type RegistryEndpoint } from './registry-config.ts';

/** Media types of manifests and indexes, OCI and Docker. */
export const mediaTypes = {
  index: ['application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json'],
  manifest: ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.docker.distribution.manifest.v2+json'],
} as const;

/** Largest manifest or configuration that is read, bytes. */
const longestDocument = 8 * 1024 * 1024;

/** Tries at one request, and the first wait between them, milliseconds (doubling). */
const retries = { count: 4, firstWaitMs: 100 };

/** A repository on one server: the pull half of the OCI distribution specification 1.1. */
export class RegistryClient {
  readonly #endpoint: RegistryEndpoint;
  readonly #repository: string;
  readonly #clock: Clock;
  readonly #http: HttpClient;
  #authorization: string | undefined;

  constructor(endpoint: RegistryEndpoint, repository: string, clock: Clock) {
    this.#endpoint = endpoint;
    this.#repository = repository;
    this.#clock = clock;
    const { ca, cert, key, insecureSkipTlsVerify } = endpoint.config ?? {};
    this.#http = new HttpClient({
      baseUrl: endpoint.baseUrl,
      ...(ca ? { ca } : {}),
      ...(cert ? { cert } : {}),
      ...(key ? { key } : {}),
      ...(insecureSkipTlsVerify ? { insecureSkipTlsVerify } : {}),
    });
    if (endpoint.auth?.registryToken) this.#authorization = `Bearer ${endpoint.auth.registryToken}`;
  }

  /** A manifest or index by tag or digest. A digest is checked. */
  async manifest(tagOrDigest: string, signal?: AbortSignal): Promise<{ body: Buffer; mediaType: string }> {
    const accept = [...mediaTypes.index, ...mediaTypes.manifest].join(', ');
    const message = await this.#get(`manifests/${tagOrDigest}`, { accept }, signal);
    const body = await readAll(message, longestDocument);
    const promised = tagOrDigest.includes(':') ? tagOrDigest : message.headers['docker-content-digest'];
    if (typeof promised === 'string' && promised !== '')
      checkDigest(hashFor(promised).update(body), promised, `manifest ${tagOrDigest}`);
    return { body, mediaType: message.headers['content-type']?.split(';')[0] ?? '' };
  }

  /** A small blob (an image configuration), checked. */
  async document(digest: string, signal?: AbortSignal): Promise<Buffer> {
    const body = await readAll(await this.#get(`blobs/${digest}`, {}, signal), longestDocument);
    checkDigest(hashFor(digest).update(body), digest, `blob ${digest}`);
    return body;
  }

  /** A blob as a stream. A connection that breaks is taken up where it broke; the digest is checked at the end. */
  async *blob(digest: string, size: number, signal?: AbortSignal): AsyncIterable<Buffer> {
    const hash = hashFor(digest);
    let received = 0;
    for (let failures = 0; received < size || size === 0; ) {
      const before = received;
      try {
        const message = await this.#get(`blobs/${digest}`, received > 0 ? { range: `bytes=${received}-` } : {}, signal);
        // A server that does not know ranges begins anew: skip what is here already.
        let skip = received > 0 && message.statusCode !== 206 ? received : 0;
        for await (const chunk of message as AsyncIterable<Buffer>) {
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
        if (signal?.aborted || error instanceof ImageError || received === size) throw error;
        failures = received > before ? 1 : failures + 1;
        if (failures >= retries.count) throw unavailable(this.#endpoint.baseUrl, error);
        await this.#clock.sleep(retries.firstWaitMs * 2 ** failures, signal);
      }
    }
    checkDigest(hash, digest, `blob ${digest}`);
  }

  close(): void {
    this.#http.close();
  }

  async #get(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<IncomingMessage> {
    let asked = false;
    for (let failures = 0; ; ) {
      const { message, error } = await this.#tryGet(path, headers, signal);
      const status = message?.statusCode ?? 0;
      if (message && (status === 200 || status === 206)) return message;
      if (message && status >= 300 && status < 400 && message.headers.location) {
        message.resume();
        return this.#follow(new URL(message.headers.location, `${this.#endpoint.baseUrl}/`).href, headers, signal);
      }
      if (message && status === 401 && !asked) {
        message.resume();
        await this.#authorize(message.headers['www-authenticate'] ?? '', signal);
        asked = true;
        continue;
      }
      const temporary = !message || status === 429 || status >= 500;
      if (message && !temporary) throw await this.#refusal(path, message);
      if (++failures >= retries.count)
        throw message ? await this.#refusal(path, message) : unavailable(this.#endpoint.baseUrl, error);
      message?.resume();
      const wait = Number(message?.headers['retry-after'] ?? 0) * 1000 || retries.firstWaitMs * 2 ** failures;
      await this.#clock.sleep(Math.min(wait, 30_000), signal);
    }
  }

  async #tryGet(
    path: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<{ message?: IncomingMessage; error?: unknown }> {
    const base = new URL(this.#endpoint.baseUrl).pathname.replace(/\/$/, '');
    const prefix = base === '' || base === '/v2' ? '' : base;
    const url = `${new URL(this.#endpoint.baseUrl).origin}${prefix}/v2/${this.#repository}/${path}`;
    const sent = {
      'user-agent': 'deckhand',
      ...this.#endpoint.config?.headers,
      ...headers,
      ...(this.#authorization ? { authorization: this.#authorization } : {}),
    };
    try {
      return {
        message: await this.#http.stream({
          path: url,
          headers: sent,
          timeoutMs: 30_000,
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

  /** A blob may be stored elsewhere; credentials are not sent there. */
  async #follow(url: string, headers: Record<string, string>, signal?: AbortSignal): Promise<IncomingMessage> {
    const message = await this.#http.stream({ path: url, headers, ...(signal ? { signal } : {}) });
    if (message.statusCode === 200 || message.statusCode === 206) return message;
    throw new ImageError('UNAVAILABLE', `unexpected status ${message.statusCode} from GET request to ${url}`);
  }

  /** Answers a challenge (RFC 7235; Docker's token specification). */
  async #authorize(challenge: string, signal?: AbortSignal): Promise<void> {
    const { auth } = this.#endpoint;
    const basic = basicAuthorization(auth);
    if (/^basic/i.test(challenge)) {
      if (!basic) throw denied('no basic auth credentials');
      this.#authorization = basic;
      return;
    }
    const parameters = Object.fromEntries(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
    );
    if (!/^bearer/i.test(challenge) || !parameters['realm'])
      throw denied(`the registry asks for ${challenge || 'nothing known'}`);
    const scope = parameters['scope'] ?? `repository:${this.#repository}:pull`;
    const query = new URLSearchParams({ scope, ...(parameters['service'] ? { service: parameters['service'] } : {}) });
    const response = auth?.identityToken
      ? await this.#http.request({
          method: 'POST',
          path: parameters['realm'],
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: `${query}&grant_type=refresh_token&client_id=deckhand&refresh_token=${encodeURIComponent(auth.identityToken)}`,
        })
      : await this.#http.request({
          path: `${parameters['realm']}?${query}`,
          headers: { ...(basic ? { authorization: basic } : {}) },
          ...(signal ? { signal } : {}),
        });
    if (response.status !== 200)
      throw denied(`token request answered ${response.status}: ${response.body.toString().slice(0, 200)}`);
    const { token, access_token: accessToken } = JSON.parse(response.body.toString()) as {
      token?: string;
      access_token?: string;
    };
    if (!token && !accessToken) throw denied('the token server gave no token');
    this.#authorization = `Bearer ${token ?? accessToken}`;
  }

  async #refusal(path: string, message: IncomingMessage): Promise<ImageError> {
    const body = (await readAll(message, 64 * 1024).catch(() => Buffer.alloc(0))).toString();
    const status = message.statusCode!;
    if (status === 404) return new ImageError('NOT_FOUND', 'not found');
    if (status === 401 || status === 403)
      return denied(
        status === 401 ? 'authorization failed: no basic auth credentials' : 'insufficient_scope: authorization failed',
      );
    return new ImageError(
      'UNAVAILABLE',
      `unexpected status ${status} from GET request to ${this.#endpoint.baseUrl}/v2/${this.#repository}/${path}: ${body.slice(0, 200)}`,
    );
  }
}

function denied(why: string): ImageError {
  return new ImageError(
    'UNAUTHENTICATED',
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

async function readAll(message: IncomingMessage, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > most) throw new ImageError('RESOURCE_EXHAUSTED', `answer is longer than ${most} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { digestOf, type TestImage } from './images.ts';

/** What a registry does wrong, or asks for. Each is off when it is missing; `times` counts down to nothing. */
export interface RegistryFaults {
  /** Ask for a user and password. */
  basic?: { username: string; password: string };
  /** Ask for a token, which /token gives to this user, or to anybody; each is good for so many requests. */
  bearer?: {
    username?: string;
    password?: string;
    /** Tokens are given for this only. */
    refreshToken?: string;
    requestsPerToken?: number;
    tokenStatus?: number;
  };
  /** With `bearer`: a token that is always good. */
  fixedToken?: string;
  /** Answer with this status. */
  status?: { code: number; times?: number; path?: RegExp; retryAfter?: string };
  /** Drop the connection before any answer. */
  reset?: { times?: number; path?: RegExp };
  /** Drop the connection after so many bytes of a blob. */
  cut?: { afterBytes: number; times?: number };
  /** Send nothing more after so many bytes of a blob; the connection stays open. */
  stall?: { afterBytes: number; times?: number };
  /** Change a byte in the middle of what is sent. */
  corrupt?: { path: RegExp };
  /** Wait between pieces of 64 KiB of a blob, milliseconds. */
  slowMs?: number;
  /** Ignore Range. */
  noRanges?: boolean;
  /** Send requests for blobs on to /elsewhere/…, which refuses an Authorization header. */
  redirect?: { status?: number; hops?: number; origin?: string };
}

/** A request that a registry got. */
export interface SeenRequest {
  method: string;
  path: string;
  query: string;
  headers: IncomingMessage['headers'];
}

/** The pull half of the OCI distribution specification 1.1, on loopback, with faults to switch on. */
export class TestRegistry implements AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  faults: RegistryFaults = {};
  readonly requests: SeenRequest[] = [];
  readonly #server: Server;
  readonly #manifests = new Map<string, { body: Buffer; mediaType: string }>();
  readonly #blobs = new Map<string, Buffer>();
  readonly #tokens = new Map<string, number>();
  #count = 0;

  constructor(server: Server) {
    this.#server = server;
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => {
      response.on('error', () => {});
      void this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** Puts an image there; gives its reference. */
  push(repository: string, tag: string, image: TestImage): string {
    const put = (name: string, body: Buffer, mediaType: string) =>
      this.#manifests.set(`${repository}/${name}`, { body, mediaType });
    put(tag, image.document, image.mediaType);
    put(image.digest, image.document, image.mediaType);
    for (const [digest, blob] of image.blobs) {
      const mediaType = image.manifests.get(digest);
      if (mediaType) put(digest, blob, mediaType);
      else this.#blobs.set(digest, blob);
    }
    return `${this.host}/${repository}:${tag}`;
  }

  /** Puts anything under a tag. */
  pushDocument(repository: string, tag: string, body: Buffer, mediaType: string): string {
    this.#manifests.set(`${repository}/${tag}`, { body, mediaType });
    return `${this.host}/${repository}:${tag}`;
  }

  /** Puts a blob there. */
  pushBlob(blob: Buffer): string {
    this.#blobs.set(digestOf(blob), blob);
    return digestOf(blob);
  }

  /** How often a blob was asked for. */
  fetches(digest: string): number {
    return this.requests.filter(({ path }) => path.endsWith(`/blobs/${digest}`)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'http://registry');
    this.requests.push({ method: request.method!, path: url.pathname, query: url.search, headers: request.headers });
    if (this.#refuse(url, response)) return;
    if (url.pathname === '/token') return void (await this.#token(request, response));
    const elsewhere = /^\/elsewhere\/(\d+)\/(.+)$/.exec(url.pathname);
    if (elsewhere) {
      if (request.headers.authorization) return refusal(response, 400, 'UNSUPPORTED');
      if (Number(elsewhere[1]) > 0)
        return void response
          .writeHead(307, { location: `/elsewhere/${Number(elsewhere[1]) - 1}/${elsewhere[2]}` })
          .end();
      return this.#send(request, response, this.#blobs.get(elsewhere[2]!));
    }
    if (!this.#authorized(request, response)) return;
    if (url.pathname === '/v2/') return void response.writeHead(200).end('{}');
    const [, repository, kind, name = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname) ?? [];
    if (kind === 'manifests') {
      const found = this.#manifests.get(`${repository}/${name}`);
      return this.#send(request, response, found?.body, found?.mediaType ?? 'MANIFEST');
    }
    if (kind !== 'blobs') return refusal(response, 404, 'UNSUPPORTED');
    const { redirect } = this.faults;
    if (redirect)
      return void response
        .writeHead(redirect.status ?? 307, {
          location: `${redirect.origin ?? ''}/elsewhere/${(redirect.hops ?? 1) - 1}/${name}`,
        })
        .end();
    return this.#send(request, response, this.#blobs.get(name));
  }

  /** Whether a fault took the request. */
  #refuse(url: URL, response: ServerResponse): boolean {
    const { status, reset } = this.faults;
    if (reset && (reset.path?.test(url.pathname) ?? true) && take(reset)) {
      response.socket!.destroy();
      return true;
    }
    if (!status || !(status.path?.test(url.pathname) ?? true) || !take(status)) return false;
    if (status.retryAfter) response.setHeader('retry-after', status.retryAfter);
    refusal(response, status.code, 'TOOMANYREQUESTS');
    return true;
  }

  #authorized(request: IncomingMessage, response: ServerResponse): boolean {
    const { basic, bearer } = this.faults;
    const { authorization = '' } = request.headers;
    if (basic) {
      if (authorization === basicHeader(basic)) return true;
      response.setHeader('www-authenticate', 'Basic realm="test"');
    } else if (bearer) {
      if (this.faults.fixedToken && authorization === `Bearer ${this.faults.fixedToken}`) return true;
      const left = this.#tokens.get(authorization.replace(/^Bearer /, '')) ?? 0;
      this.#tokens.set(authorization.replace(/^Bearer /, ''), left - 1);
      if (left > 0) return true;
      const repository = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(request.url!)?.[1] ?? '';
      response.setHeader(
        'www-authenticate',
        `Bearer realm="http://${this.host}/token",service="test",scope="repository:${repository}:pull"`,
      );
    } else return true;
    refusal(response, 401, 'UNAUTHORIZED');
    return false;
  }

  async #token(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { username, password = '', refreshToken, requestsPerToken = 1e9, tokenStatus } = this.faults.bearer ?? {};
    if (tokenStatus) return refusal(response, tokenStatus, 'UNKNOWN');
    if (username && request.headers.authorization !== basicHeader({ username, password }))
      return refusal(response, 401, 'UNAUTHORIZED');
    let body = '';
    for await (const chunk of request) body += String(chunk);
    if (refreshToken && new URLSearchParams(body).get('refresh_token') !== refreshToken)
      return refusal(response, 401, 'UNAUTHORIZED');
    const token = `token-${this.#count++}`;
    this.#tokens.set(token, requestsPerToken);
    response.end(JSON.stringify({ token, expires_in: 60 }));
  }

  async #send(
    request: IncomingMessage,
    response: ServerResponse,
    whole: Buffer | undefined,
    mediaType = 'application/octet-stream',
  ): Promise<void> {
    if (!whole) return refusal(response, 404, mediaType === 'MANIFEST' ? 'MANIFEST_UNKNOWN' : 'BLOB_UNKNOWN');
    const { corrupt, cut, stall, slowMs, noRanges } = this.faults;
    const from = noRanges ? 0 : Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    let body = whole;
    if (corrupt?.path.test(request.url!)) {
      body = Buffer.from(whole);
      const middle = body.length >> 1;
      body[middle] = body[middle]! ^ 1;
    }
    response.writeHead(from > 0 ? 206 : 200, {
      'content-type': mediaType,
      'content-length': whole.length - from,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${whole.length - 1}/${whole.length}` } : {}),
      'docker-content-digest': digestOf(whole),
    });
    if (request.method === 'HEAD') return void response.end();
    const rest = body.subarray(from);
    const isBlob = mediaType === 'application/octet-stream';
    const fault = isBlob ? [cut, stall].find((one) => one && rest.length > one.afterBytes && take(one)) : undefined;
    const sent = fault ? rest.subarray(0, fault.afterBytes) : rest;
    for (let at = 0; isBlob && slowMs && at < sent.length && !response.destroyed; at += 65_536) {
      response.write(sent.subarray(at, at + 65_536));
      await new Promise((resolve) => setTimeout(resolve, slowMs));
    }
    if (fault && slowMs === undefined) await new Promise((resolve) => response.write(sent, resolve));
    if (fault === cut && fault) response.destroy();
    else if (!fault) response.end(isBlob && slowMs ? undefined : sent);
  }
}

/** Whether a fault still applies; counts it. */
function take(fault: { times?: number }): boolean {
  if (fault.times === undefined) return true;
  return fault.times-- > 0;
}

function basicHeader({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function refusal(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase(), detail: null }] }));
}

/** Starts a registry on a free port of loopback; with TLS when it gets a certificate, and then for clients of a CA only. */
export async function startRegistry(tls?: { cert: string; key: string; clientCa?: string }): Promise<TestRegistry> {
  const server = tls
    ? createSecureServer({
        cert: tls.cert,
        key: tls.key,
        ...(tls.clientCa ? { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true } : {}),
      })
    : createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return new TestRegistry(server);
}

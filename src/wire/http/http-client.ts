import type { IncomingHttpHeaders, IncomingMessage, Agent as PlainAgent, RequestOptions } from 'node:http';
import type { Agent as SecureAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { type Clock, systemClock, type Timer } from '../../async/index.ts';
import { http, https } from './node-http.ts';

/** How to reach a server. */
export interface HttpClientOptions {
  /** `https://host:port`, `http://host:port`, with an optional path that is put before every path. */
  baseUrl?: string;
  /** Talk over this unix socket instead. */
  socketPath?: string;
  /** PEM: who may have signed the server's certificate. Default: the system's. */
  ca?: string | Buffer;
  /** Accept also what the machine trusts (its certificate directory) and what Node brings, beside `ca`. Default false. */
  trustSystem?: boolean;
  /** PEM: our certificate and key. */
  cert?: string | Buffer;
  key?: string | Buffer;
  /** Accept any server certificate. Default false. */
  insecureSkipTlsVerify?: boolean;
  /** Name that the server's certificate must have. Default: the host of baseUrl. */
  serverName?: string;
  /** Keep connections for the next request. Default true. */
  keepAlive?: boolean;
  /** Connections at once. Default unlimited. */
  maxSockets?: number;
  /** For timeouts. Default: the machine's. */
  clock?: Clock;
}

/** One request. */
export interface HttpRequest {
  /** Default GET. */
  method?: string;
  /** Path and query; or a whole URL, which overrides baseUrl. */
  path: string;
  headers?: Record<string, string | number | string[] | undefined>;
  body?: string | Uint8Array;
  signal?: AbortSignal;
  /** Time for the whole exchange (for a stream: until its header), milliseconds. Default none. */
  timeoutMs?: number;
}

/** An answer with its whole body. */
export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Raised when there is no answer: refused, reset, timed out. `code` is Node's (ECONNREFUSED, ETIMEDOUT …). */
export class HttpError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** How long a connection is silent before the kernel asks whether the peer is there, milliseconds. */
const peerProbeMs = 30_000;

/** A request under way whose header has come. */
interface Exchange {
  message: IncomingMessage;
  timer?: Timer;
  /** Set when the time was over. */
  timedOut?: HttpError;
}

/** An HTTP/1.1 client for one server, with kept connections. */
export class HttpClient {
  readonly #base: URL;
  readonly #options: HttpClientOptions;
  readonly #plain: PlainAgent;
  readonly #secure: SecureAgent;
  #context: SecureContext | undefined;

  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.#base = new URL(options.baseUrl ?? 'http://localhost');
    const agent = {
      keepAlive: options.keepAlive ?? true,
      keepAliveMsecs: 30_000,
      scheduling: 'lifo' as const,
      ...(options.maxSockets ? { maxSockets: options.maxSockets } : {}),
    };
    this.#plain = new http.Agent(agent);
    this.#secure = new https.Agent({
      ...agent,
      ...(options.trustSystem ? {} : trust(options)),
      ...(options.serverName ? { servername: options.serverName } : {}),
      rejectUnauthorized: !options.insecureSkipTlsVerify,
    });
  }

  /** Sends a request and reads the whole answer. @throws HttpError, or the signal's reason */
  async request(request: HttpRequest): Promise<HttpResponse> {
    const exchange = await this.#exchange(request);
    const { message } = exchange;
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of message) chunks.push(chunk as Buffer);
    } catch (error) {
      throw exchange.timedOut ?? this.#explain(request, error);
    } finally {
      exchange.timer?.cancel();
    }
    return {
      status: message.statusCode!,
      headers: message.headers,
      body: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks),
    };
  }

  /** Sends a request and gives the answer as soon as its header is there; the body is read from it. */
  async stream(request: HttpRequest): Promise<IncomingMessage> {
    const { message, timer } = await this.#exchange(request);
    timer?.cancel();
    return message;
  }

  /** Sends a request and waits for the header of the answer; the timer runs on. */
  #exchange(request: HttpRequest, isSecondTry = false): Promise<Exchange> {
    return new Promise((resolve, reject) => {
      const sent = this.#send(request);
      const { timeoutMs } = request;
      const exchange: Partial<Exchange> = {};
      if (timeoutMs !== undefined)
        exchange.timer = (this.#options.clock ?? systemClock).after(timeoutMs, () => {
          const what = `${this.#describe(request)}: no answer within ${timeoutMs} ms`;
          exchange.timedOut = new HttpError('ETIMEDOUT', what);
          sent.destroy(exchange.timedOut);
        });
      // A peer that has vanished while an answer (a watch) is under way is found out by the kernel's probes.
      sent.on('socket', (socket) => socket.setKeepAlive(true, peerProbeMs));
      sent.on('response', (message) => resolve(Object.assign(exchange, { message })));
      sent.on('error', (error: NodeJS.ErrnoException) => {
        exchange.timer?.cancel();
        // The server closed a kept connection just as we used it: nothing has happened yet, another one will do.
        const isStale = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        if (isStale && !isSecondTry && !request.signal?.aborted && isSafe(request))
          resolve(this.#exchange(request, true));
        else reject(exchange.timedOut ?? this.#explain(request, error));
      });
      sent.end(request.body);
    });
  }

  #explain(request: HttpRequest, error: unknown): unknown {
    return request.signal?.aborted ? request.signal.reason : toHttpError(error, this.#describe(request));
  }

  /**
   * Asks for another protocol on the connection.
   * @returns the raw connection after a 101; otherwise the answer that refused it
   */
  upgrade(
    request: HttpRequest,
  ): Promise<
    { socket: Duplex; head: Buffer; headers: IncomingHttpHeaders; status: 101 } | { refused: IncomingMessage }
  > {
    return new Promise((resolve, reject) => {
      const sent = this.#send(request, false);
      sent.on('upgrade', (message, socket, head) => resolve({ socket, head, headers: message.headers, status: 101 }));
      sent.on('response', (message) => resolve({ refused: message }));
      sent.on('error', (error) => reject(toHttpError(error, this.#describe(request))));
      sent.end(request.body);
    });
  }

  /** Drops kept connections. */
  close(): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }

  /** Drops kept connections that nobody uses; those in use end with what they carry. For a client that is replaced. */
  retire(): void {
    for (const agent of [this.#plain, this.#secure]) {
      agent.maxFreeSockets = 0;
      for (const socket of Object.values(agent.freeSockets).flatMap((list) => list ?? [])) socket.destroy();
    }
  }

  #send(request: HttpRequest, pooled = true) {
    const url = /^https?:/.test(request.path) ? new URL(request.path) : new URL(joinPath(this.#base, request.path));
    const secure = url.protocol === 'https:' && !this.#options.socketPath;
    // Made once, when it is needed: reading hundreds of certificates takes a while.
    if (secure && this.#options.trustSystem) this.#context ??= systemContext(this.#options);
    const agent = secure ? this.#secure : this.#plain;
    const headers = Object.fromEntries(
      Object.entries(request.headers ?? {}).filter(([, value]) => value !== undefined),
    ) as RequestOptions['headers'];
    const options: RequestOptions & { secureContext?: SecureContext } = {
      method: request.method ?? 'GET',
      path: `${url.pathname}${url.search}`,
      headers: {
        ...headers,
        ...(request.body !== undefined ? { 'content-length': Buffer.byteLength(request.body) } : {}),
      },
      ...(this.#context ? { secureContext: this.#context } : {}),
      agent: pooled ? agent : secure ? new https.Agent({ ...this.#secure.options, keepAlive: false }) : false,
      ...(this.#options.socketPath
        ? { socketPath: this.#options.socketPath }
        : { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port || (secure ? 443 : 80) }),
      ...(request.signal ? { signal: request.signal } : {}),
    };
    const sent = (secure ? https : http).request(options);
    sent.setNoDelay(true);
    // A peer that vanished without a word is noticed by streams too.
    sent.setSocketKeepAlive(true, 30_000);
    return sent;
  }

  #describe(request: HttpRequest): string {
    const { path } = request;
    const where = /^https?:/.test(path) ? '' : (this.#options.socketPath ?? this.#base.origin);
    return `${request.method ?? 'GET'} ${where}${path}`;
  }
}

function trust({ ca, cert, key }: HttpClientOptions) {
  return { ...(ca ? { ca } : {}), ...(cert ? { cert, key } : {}) };
}

/** The context of clients that trust the machine and have nothing of their own; one for all. */
let plainSystemContext: SecureContext | undefined;

function systemContext(options: HttpClientOptions): SecureContext {
  const make = () => {
    const known = [...getCACertificates('default'), ...getCACertificates('system')];
    const ca = [...new Set(known), ...(options.ca ? [options.ca] : [])];
    return createSecureContext({ ...trust(options), ca });
  };
  if (options.ca || options.cert) return make();
  plainSystemContext ??= make();
  return plainSystemContext;
}

/** Whether sending a request twice does the same as once. */
function isSafe({ method = 'GET' }: HttpRequest): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}

function joinPath(base: URL, path: string): string {
  return `${base.origin}${base.pathname.replace(/\/$/, '')}${path.startsWith('/') ? path : `/${path}`}`;
}

/** Node's network errors with the request that met them. */
function toHttpError(error: unknown, request: string): HttpError {
  const cause = error as NodeJS.ErrnoException;
  return new HttpError(cause.code ?? 'EIO', `${request}: ${cause.message || cause.code}`, { cause });
}

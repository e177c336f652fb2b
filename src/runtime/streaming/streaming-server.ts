import type { AttachRequest, ExecRequest, PortForwardRequest } from '../../api/cri/index.ts';
import type { Clock } from '../../async/index.ts';
import { createHttpServer, type HttpServer } from '../../wire/http/index.ts';
import { TokenCache } from './tokens.ts';

/** What a stream's connection is for. */
export type StreamRequest =
  | { kind: 'exec'; request: ExecRequest }
  | { kind: 'attach'; request: AttachRequest }
  | { kind: 'portforward'; request: PortForwardRequest };

type Upgrade = NonNullable<Parameters<typeof createHttpServer>[0]['upgrade']>;

/** A connection that asks for another protocol. */
export interface Connection {
  request: Parameters<Upgrade>[0];
  socket: Parameters<Upgrade>[1];
  head: Parameters<Upgrade>[2];
}

/** Serves one connection that has been let in. */
export type StreamHandler = (stream: StreamRequest, connection: Connection) => Promise<void>;

/** How the streaming server is made. */
export interface StreamingServerOptions {
  clock: Clock;
  handler: StreamHandler;
  onError: (error: unknown) => void;
  /** Certificate and key for TLS; without them connections are plain. */
  tls?: { cert: Buffer; key: Buffer };
}

/** After this long the kernel asks whether a silent client is still there, milliseconds. */
const keepAliveMs = 30_000;
/** How long connections have to end when the server is closed, milliseconds. */
const closeMs = 5_000;

/** The HTTP server to which exec, attach and port-forward lead; every address works once. */
export class StreamingServer {
  readonly #options: StreamingServerOptions;
  readonly #tokens: TokenCache<StreamRequest>;
  readonly #server: HttpServer;
  readonly #running = new Set<Promise<void>>();
  #base = '';

  constructor(options: StreamingServerOptions) {
    this.#options = options;
    this.#tokens = new TokenCache(options.clock);
    this.#server = createHttpServer({
      handler: (request, response) => {
        const known = /^\/(exec|attach|portforward)\//.test(request.url ?? '');
        response.writeHead(known ? 400 : 404, { 'content-type': 'text/plain; charset=utf-8' });
        response.end(known ? 'this address takes SPDY/3.1 and WebSocket connections only\n' : 'not found\n');
      },
      upgrade: (request, socket, head) => this.#accept({ request, socket, head }),
      ...(options.tls ? { tls: options.tls } : {}),
    });
  }

  async listen(host: string, port: number): Promise<void> {
    const address = await this.#server.listen({ host, port });
    const name = address.host.includes(':') ? `[${address.host}]` : address.host;
    this.#base = `${this.#options.tls ? 'https' : 'http'}://${name}:${address.port}`;
  }

  /** The address for a request that was found valid. */
  url(stream: StreamRequest): string {
    return `${this.#base}/${stream.kind}/${this.#tokens.insert(stream)}`;
  }

  /** Ends every connection; resolves when what served them is done, or has had its time. */
  async close(): Promise<void> {
    await this.#server.close();
    await Promise.race([Promise.allSettled([...this.#running]), this.#options.clock.sleep(closeMs)]);
  }

  #accept({ request, socket, head }: Connection): void {
    const [kind, token = ''] = (request.url ?? '').split('?')[0]!.split('/').slice(1);
    const stream = this.#tokens.take(token);
    if (!stream || stream.kind !== kind) {
      socket.on('error', () => {});
      void import('../../wire/streams/index.ts').then(({ refuseUpgrade }) =>
        refuseUpgrade(socket, 404, 'no such address, or it was used before\n'),
      );
      return;
    }
    (socket as { setKeepAlive?: (on: boolean, delay: number) => void }).setKeepAlive?.(true, keepAliveMs);
    const serving = this.#serve(stream, { request, socket, head }).finally(() => this.#running.delete(serving));
    this.#running.add(serving);
  }

  async #serve(stream: StreamRequest, connection: Connection): Promise<void> {
    try {
      await this.#options.handler(stream, connection);
    } catch (error) {
      this.#options.onError(error);
      connection.socket.destroy();
    }
  }
}

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

/** The HTTP server to which exec, attach and port-forward lead; every address works once. */
export class StreamingServer {
  readonly #tokens: TokenCache<StreamRequest>;
  readonly #server: HttpServer;
  #base = '';

  constructor(options: { clock: Clock; handler: StreamHandler; onError: (error: unknown) => void }) {
    this.#tokens = new TokenCache(options.clock);
    this.#server = createHttpServer({
      handler: (_, response) => void response.writeHead(404).end(),
      upgrade: (request, socket, head) => {
        const [kind, token = ''] = (request.url ?? '').split('?')[0]!.split('/').slice(1);
        const stream = this.#tokens.take(token);
        if (!stream || stream.kind !== kind) {
          socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
          return;
        }
        options.handler(stream, { request, socket, head }).catch((error: unknown) => {
          options.onError(error);
          socket.destroy();
        });
      },
    });
  }

  async listen(host: string, port: number): Promise<void> {
    const address = await this.#server.listen({ host, port });
    const name = address.host.includes(':') ? `[${address.host}]` : address.host;
    this.#base = `http://${name}:${address.port}`;
  }

  /** The address for a request that was found valid. */
  url(stream: StreamRequest): string {
    return `${this.#base}/${stream.kind}/${this.#tokens.insert(stream)}`;
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}

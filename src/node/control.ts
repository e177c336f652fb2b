import { rm } from 'node:fs/promises';
import { createHttpServer, HttpClient } from '../wire/http/index.ts';
import type { InstanceRecord } from './instance.ts';

/** The instance's control socket: `GET /status` gives its record, `POST /stop?keepPods=true|false` ends it. */
export interface ControlServer {
  /** Resolves when someone asks for the end. */
  stopAsked: Promise<{ keepPods: boolean }>;
  close(): Promise<void>;
}

/** Serves the control socket (HTTP over a unix socket, only root may open it). */
export async function serveControl(socketPath: string, record: () => InstanceRecord): Promise<ControlServer> {
  let ask: (how: { keepPods: boolean }) => void = () => {};
  const stopAsked = new Promise<{ keepPods: boolean }>((resolve) => {
    ask = resolve;
  });
  await rm(socketPath, { force: true });
  const server = createHttpServer({
    handler: (request, response) => {
      const url = new URL(request.url ?? '/', 'http://control');
      if (request.method === 'GET' && url.pathname === '/status') {
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(record()));
      } else if (request.method === 'POST' && url.pathname === '/stop') {
        response.writeHead(202).end();
        ask({ keepPods: url.searchParams.get('keepPods') === 'true' });
      } else response.writeHead(404).end();
    },
  });
  await server.listen({ socketPath });
  return { stopAsked, close: () => server.close() };
}

/** Asks a running instance to end. @throws Error when nobody answers at the socket */
export async function askToStop(socketPath: string, keepPods: boolean): Promise<void> {
  const client = new HttpClient({ socketPath });
  try {
    await client.request({ method: 'POST', path: `/stop?keepPods=${keepPods}` });
  } finally {
    client.close();
  }
}

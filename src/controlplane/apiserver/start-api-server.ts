import { join } from 'node:path';
import type { Clock, Component } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { createHttpServer, type HttpServer, type Socket } from '../../wire/http/index.ts';
import { createMemoryLog, openSqliteLog, Store } from '../store/index.ts';
import type { Core } from './core.ts';
import { Documents } from './documents/documents.ts';
import { Metrics } from './documents/metrics.ts';
import type { Extensions } from './extension-points.ts';
import { expireEvents } from './objects/event-expiry.ts';
import { createRegistry } from './objects/registry.ts';
import { RequestHandler } from './request-handler.ts';
import { ResourceTable } from './resource-table.ts';
import { WatchHub } from './watch/watch-hub.ts';

/** How an API server is set up. */
export interface ApiServerConfig {
  /** Port 0 takes any free one. */
  listen: { host: string; port: number };
  /** Where the store's file (`store.db`) is kept. */
  dataDir?: string;
  /** Keep everything in memory; nothing survives. */
  memory?: boolean;
  tls: { cert: string | Buffer; key: string | Buffer; clientCa?: string | Buffer };
  /** Everything that makes the generic server a Kubernetes one. */
  extensions: Extensions;
  /** The address that discovery names; default the one it listens on. */
  advertiseAddress?: string;
  /** How long changes stay for watchers to resume from. Default 5 minutes. */
  historyMs?: number;
}

/** A running API server. */
export interface ApiServer extends Component {
  /** `https://host:port`; known once ready. */
  readonly url: string;
  /** Where it listens; known once ready. */
  readonly address: { host: string; port: number };
  /** Replaces the serving certificate for new connections. */
  setCertificate(cert: string | Buffer, key: string | Buffer): void;
}

/** Starts the API server: opens the store, makes what must be there, listens. `ready` rejects when one of these fails. */
export function startApiServer(config: ApiServerConfig, { log, clock }: { log: Logger; clock: Clock }): ApiServer {
  let address = config.listen;
  let running: Running | undefined;
  let stopped = false;
  const ready = (async () => {
    running = await start(config, log, clock);
    if (stopped) return running.close();
    address = running.address;
    log.info('the API server listens', { url: urlOf(address) });
  })();
  ready.catch(() => {});
  return {
    ready,
    get url() {
      return urlOf(address);
    },
    get address() {
      return address;
    },
    setCertificate: (cert, key) => running?.server.setCertificate(cert, key),
    stop: async () => {
      stopped = true;
      await ready.catch(() => {});
      await running?.close();
    },
  };
}

function urlOf({ host, port }: { host: string; port: number }): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  return `https://${name}:${port}`;
}

interface Running {
  address: { host: string; port: number };
  server: HttpServer;
  close(): Promise<void>;
}

async function start(config: ApiServerConfig, log: Logger, clock: Clock): Promise<Running> {
  if (!config.memory && !config.dataDir)
    throw new Error('the API server needs a data directory, or to be kept in memory');
  const store = new Store({
    log: config.memory ? createMemoryLog() : openSqliteLog(join(config.dataDir!, 'store.db')),
    clock,
    ...(config.historyMs === undefined ? {} : { historyMs: config.historyMs }),
    onError: (error) => log.warn('the history could not be shortened', { error }),
  });
  try {
    return await serve(config, store, log, clock);
  } catch (error) {
    store.close();
    throw error;
  }
}

async function serve(config: ApiServerConfig, store: Store, log: Logger, clock: Clock): Promise<Running> {
  const { extensions } = config;
  const resources = new ResourceTable();
  const core: Core = { store, resources, extensions, clock, log, registry: createRegistry(() => core) };
  await extensions.bootstrap(core.registry);
  const hub = new WatchHub(core);
  const metrics = new Metrics({
    watchers: () => hub.count,
    revision: () => store.revision,
    objects: () => new Map(resources.all().map(({ storage }) => [storage.key, store.collection(storage.key).size])),
  });
  const serverAddress = `${config.advertiseAddress ?? config.listen.host}:${config.listen.port}`;
  const documents = new Documents({ core, serverAddress, checks: [{ name: 'ping', check: () => undefined }], metrics });
  const handler = new RequestHandler(core, documents, hub, metrics);
  const server = createHttpServer({
    tls: config.tls,
    handler: (request, response) => handler.handle(request, response),
    upgrade: (request, socket, head) => void handler.handleUpgrade(request, socket as Socket, head),
    onError: (error) => log.error('a request handler failed', { error }),
  });
  const address = await server.listen(config.listen);
  const stopExpiry = expireEvents(core);
  return {
    address,
    server,
    close: async () => {
      stopExpiry();
      hub.close();
      await server.close();
      store.close();
    },
  };
}

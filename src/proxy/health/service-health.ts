import type { Logger } from '../../log/index.ts';
import { createHttpServer, type HttpServer } from '../../wire/http/index.ts';
import type { IpFamily } from '../model/types.ts';
import { sendJson } from './answers.ts';

/** A Service whose load balancer asks this node whether it has endpoints. */
export interface HealthCheck {
  /** `namespace/name`. */
  service: string;
  port: number;
  /** Ready endpoints on this node in each family that the Service has. */
  localEndpoints: ReadonlyMap<IpFamily, number>;
}

interface Running {
  check: HealthCheck;
  /** By place: `family host`. */
  servers: Map<string, HttpServer>;
}

/** What the servers depend on. */
export interface ServiceHealthOptions {
  /** Addresses of a family to listen on: the node's that take node ports. */
  hosts: (family: IpFamily) => readonly string[];
  isHealthy: () => boolean;
  log: Logger;
  /** Told of a port that cannot be listened on. */
  onFailure: (check: HealthCheck, error: unknown) => void;
}

/**
 * Small HTTP servers for each Service with a health check node port, in each of its families: 200 when this node has an endpoint
 * and the proxy is well, else 503.
 */
export class ServiceHealthServers {
  readonly #options: ServiceHealthOptions;
  readonly #running = new Map<string, Running>();
  #last: Promise<void> = Promise.resolve();

  constructor(options: ServiceHealthOptions) {
    this.#options = options;
  }

  /** What a Service needs now; undefined: nothing. Listening starts and ends in the order of calls. */
  set(service: string, check: HealthCheck | undefined): void {
    const running = this.#running.get(service);
    if (!running && !check) return;
    if (!check) {
      this.#running.delete(service);
      return this.#then(() => closeAll(running!));
    }
    if (running?.check.port === check.port) {
      const same = [...running.check.localEndpoints.keys()].join() === [...check.localEndpoints.keys()].join();
      running.check = check;
      if (!same) this.#then(() => this.#align(running));
      return;
    }
    const opened: Running = { check, servers: new Map() };
    this.#running.set(service, opened);
    this.#then(async () => {
      if (running) await closeAll(running);
      await this.#align(opened);
    });
  }
  /** The addresses may be others: listens on those that came, and no more on those that went; tries again what failed. */
  refresh(): void {
    for (const running of this.#running.values()) this.#then(() => this.#align(running));
  }
  /** Resolves when all that was asked for is done. */
  settled(): Promise<void> {
    return this.#last;
  }
  async close(): Promise<void> {
    for (const service of [...this.#running.keys()]) this.set(service, undefined);
    await this.#last;
  }

  #then(work: () => Promise<void>): void {
    this.#last = this.#last.then(work).catch((error: unknown) => {
      this.#options.log.error('health check node ports', { error });
    });
  }

  async #align(running: Running): Promise<void> {
    if (this.#running.get(running.check.service) !== running) return;
    const wanted = new Map<string, { family: IpFamily; host: string }>();
    for (const family of running.check.localEndpoints.keys())
      for (const host of this.#options.hosts(family)) wanted.set(`${family} ${host}`, { family, host });
    for (const [place, server] of running.servers) {
      if (wanted.has(place)) continue;
      running.servers.delete(place);
      await server.close();
    }
    for (const [place, { family, host }] of wanted) {
      if (running.servers.has(place)) continue;
      const server = this.#make(running, family);
      try {
        await server.listen({ host, port: running.check.port, ipv6Only: family === 6 });
        running.servers.set(place, server);
      } catch (error) {
        const { service, port } = running.check;
        this.#options.log.error('cannot serve a health check node port', { service, host, port, error });
        this.#options.onFailure(running.check, error);
      }
    }
  }

  #make(running: Running, family: IpFamily): HttpServer {
    return createHttpServer({
      handler: (_request, response) => {
        const { service, localEndpoints } = running.check;
        const [namespace, name] = service.split('/');
        const count = localEndpoints.get(family) ?? 0;
        const healthy = this.#options.isHealthy();
        response.setHeader('x-load-balancing-endpoint-weight', String(count));
        sendJson(response, count > 0 && healthy ? 200 : 503, {
          service: { namespace, name },
          localEndpoints: count,
          serviceProxyHealthy: healthy,
        });
      },
    });
  }
}

async function closeAll({ servers }: Running): Promise<void> {
  for (const server of servers.values()) await server.close();
  servers.clear();
}

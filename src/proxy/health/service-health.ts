import type { Logger } from '../../log/index.ts';
import { createHttpServer, type HttpServer } from '../../wire/http/index.ts';
import { sendJson } from './health-server.ts';

/** A Service whose load balancer asks this node whether it has endpoints. */
export interface HealthCheck {
  /** `namespace/name`. */
  service: string;
  port: number;
  /** Ready endpoints on this node. */
  localEndpoints: number;
}

interface Running {
  check: HealthCheck;
  server: HttpServer;
}

/** What the servers depend on. */
export interface ServiceHealthOptions {
  /** Addresses to listen on. */
  hosts: readonly string[];
  isHealthy: () => boolean;
  log: Logger;
  /** Told of a port that cannot be listened on. */
  onFailure: (check: HealthCheck, error: unknown) => void;
}

/** One small HTTP server for each Service with a health check node port: 200 when this node has an endpoint, else 503. */
export class ServiceHealthServers {
  readonly #options: ServiceHealthOptions;
  readonly #running = new Map<string, Running[]>();
  #last: Promise<void> = Promise.resolve();

  constructor(options: ServiceHealthOptions) {
    this.#options = options;
  }

  /** What a Service needs now; undefined: nothing. Listening starts and ends in the order of calls. */
  set(service: string, check: HealthCheck | undefined): void {
    const running = this.#running.get(service);
    if (running && check && running[0]?.check.port === check.port) {
      for (const one of running) one.check = check;
      return;
    }
    if (!running && !check) return;
    this.#running.delete(service);
    const opened: Running[] = check
      ? this.#options.hosts.map(() => ({ check, server: undefined as unknown as HttpServer }))
      : [];
    if (check) this.#running.set(service, opened);
    this.#last = this.#last.then(async () => {
      for (const { server } of running ?? []) await server.close();
      if (check) await this.#open(check, opened);
    });
  }
  /** Resolves when all that was asked for is done. */
  settled(): Promise<void> {
    return this.#last;
  }
  async close(): Promise<void> {
    for (const service of [...this.#running.keys()]) this.set(service, undefined);
    await this.#last;
  }

  async #open(check: HealthCheck, opened: Running[]): Promise<void> {
    for (const [index, one] of opened.entries()) {
      one.server = createHttpServer({
        handler: (_request, response) => {
          const [namespace, name] = one.check.service.split('/');
          const healthy = this.#options.isHealthy();
          response.setHeader('x-load-balancing-endpoint-weight', String(one.check.localEndpoints));
          sendJson(response, one.check.localEndpoints > 0 && healthy ? 200 : 503, {
            service: { namespace, name },
            localEndpoints: one.check.localEndpoints,
            serviceProxyHealthy: healthy,
          });
        },
      });
      try {
        await one.server.listen({ host: this.#options.hosts[index]!, port: check.port });
      } catch (error) {
        this.#options.log.error('cannot serve a health check node port', { service: check.service, error });
        this.#options.onFailure(check, error);
      }
    }
  }
}

import type { IncomingMessage, ServerResponse } from '../../../wire/http/index.ts';
import type { Core } from '../core.ts';
import { noSuchPath } from '../http/request-target.ts';
import { send, sendJson } from '../http/respond.ts';
import { StatusError } from '../status-error.ts';
import { Discovery } from './discovery.ts';
import { answerHealth, type HealthCheck } from './health.ts';
import type { Metrics } from './metrics.ts';
import { versionInfo } from './version.ts';

/** What the documents tell of. */
export interface DocumentsOptions {
  core: Core;
  serverAddress: string;
  checks: readonly HealthCheck[];
  metrics: Metrics;
}

/** Everything that is served beside resources: discovery, OpenAPI, version, health, metrics. */
export class Documents {
  readonly #options: DocumentsOptions;
  readonly #discovery: Discovery;

  constructor(options: DocumentsOptions) {
    this.#options = options;
    this.#discovery = new Discovery(options.core.resources, options.serverAddress);
  }

  /** Answers a path. @throws StatusError 404, 405 */
  async serve(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const path = url.pathname;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
    }
    const health = answerHealth(this.#options.checks, path, url.searchParams);
    if (health) return send(response, health.status, 'text/plain; charset=utf-8', health.body);
    const discovery = this.#discovery.answer(path, request.headers.accept);
    if (discovery) {
      response.setHeader('Vary', 'Accept');
      return send(response, 200, discovery.contentType, JSON.stringify(discovery.body));
    }
    if (path === '/version' || path === '/version/') return sendJson(response, 200, versionInfo);
    if (path === '/metrics') {
      return send(response, 200, 'text/plain; version=0.0.4; charset=utf-8', await this.#options.metrics.render());
    }
    if (path === '/openapi/v2' || path === '/openapi/v3' || path.startsWith('/openapi/v3/')) {
      const { serveOpenApi } = await import('./openapi.ts');
      if (serveOpenApi(this.#options.core.resources, request, response, url)) return;
    }
    const document = this.#options.core.extensions.documents?.[path];
    if (document) {
      const { contentType, body } = await document();
      return send(response, 200, contentType, body);
    }
    if (path === '/') return sendJson(response, 200, { paths: this.#paths() });
    throw noSuchPath();
  }

  #paths(): string[] {
    const groups = [...this.#options.core.resources.groups()].filter(([group]) => group !== '');
    return [
      '/api',
      '/api/v1',
      '/apis',
      ...groups.flatMap(([group, versions]) => [`/apis/${group}`, ...versions.map((one) => `/apis/${group}/${one}`)]),
      '/healthz',
      '/livez',
      '/metrics',
      '/openapi/v2',
      '/openapi/v3',
      '/readyz',
      '/version',
      ...Object.keys(this.#options.core.extensions.documents ?? {}),
    ].sort();
  }
}

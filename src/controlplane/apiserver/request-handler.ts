import { clientCertificateOf, type IncomingMessage, type ServerResponse, type Socket } from '../../wire/http/index.ts';
import type { Core } from './core.ts';
import type { Documents } from './documents/documents.ts';
import type { Metrics } from './documents/metrics.ts';
import type { UserInfo } from './extension-points.ts';
import { connectorOf, handleConnect } from './http/connect.ts';
import { attributesOf, authorize, dispatch } from './http/dispatch.ts';
import type { Exchange } from './http/exchange.ts';
import { negotiate } from './http/negotiate.ts';
import { noSuchPath, parseTarget, verbOf } from './http/request-target.ts';
import { sendError } from './http/respond.ts';
import { toStatusError } from './objects/errors.ts';
import { StatusError } from './status-error.ts';
import type { WatchHub } from './watch/watch-hub.ts';

/** Serves one HTTP request after the other: who, what, may they, do it. */
export class RequestHandler {
  readonly #core: Core;
  readonly #documents: Documents;
  readonly #hub: WatchHub;
  readonly #metrics: Metrics;
  readonly #certificates = new WeakMap<object, ReturnType<typeof clientCertificateOf> | null>();

  constructor(core: Core, documents: Documents, hub: WatchHub, metrics: Metrics) {
    this.#core = core;
    this.#documents = documents;
    this.#hub = hub;
    this.#metrics = metrics;
  }

  /** A plain request. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const begun = this.#core.clock.monotonic();
    try {
      const url = parseUrl(request);
      const target = parseTarget(this.#core.resources, url.pathname);
      const user = await this.#authenticate(request);
      if (target.kind === 'path') {
        await this.#authorizePath(user, request, url);
        await this.#documents.serve(request, response, url);
        return;
      }
      const exchange: Exchange = {
        core: this.#core,
        request,
        response,
        url,
        target,
        verb: verbOf(request.method ?? 'GET', target, url.searchParams),
        user,
        encoding: negotiate(request.headers.accept, url.searchParams, request.headers['user-agent']),
      };
      response.once('close', () => this.#observe(exchange, begun));
      await authorize(exchange);
      await dispatch(exchange, this.#hub);
    } catch (error) {
      const status = toStatusError(error);
      if (status.code >= 500 && !(error instanceof StatusError)) {
        this.#core.log.error('request failed', { method: request.method, path: request.url, error });
      }
      sendError(response, status);
    }
  }

  /** A request that asks for another protocol: only subresources like exec take it. */
  async handleUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    try {
      const url = parseUrl(request);
      const target = parseTarget(this.#core.resources, url.pathname);
      if (target.kind === 'path') throw noSuchPath();
      const exchange: Exchange = {
        core: this.#core,
        request,
        // Nothing is answered through it: the connector has the socket.
        response: undefined as unknown as ServerResponse,
        url,
        target,
        verb: verbOf(request.method ?? 'GET', target, url.searchParams),
        user: await this.#authenticate(request),
        encoding: { form: 'object', yaml: false, pretty: false, includeObject: 'Metadata' },
      };
      await authorize(exchange);
      const connector = connectorOf(exchange);
      if (!connector) throw new StatusError(400, 'BadRequest', 'this path does not take upgrades');
      await handleConnect(exchange, connector, { socket, head });
    } catch (error) {
      refuseUpgrade(socket, toStatusError(error));
    }
  }

  async #authenticate(request: IncomingMessage): Promise<UserInfo> {
    let certificate = this.#certificates.get(request.socket);
    if (certificate === undefined) {
      certificate = clientCertificateOf(request) ?? null;
      this.#certificates.set(request.socket, certificate);
    }
    const credentials = { headers: request.headers, ...(certificate ? { clientCertificate: certificate } : {}) };
    for (const authenticator of this.#core.extensions.authenticators) {
      const user = await authenticator.authenticate(credentials);
      if (user) return user;
    }
    return { username: 'system:anonymous', groups: ['system:unauthenticated'] };
  }

  async #authorizePath(user: UserInfo, request: IncomingMessage, url: URL): Promise<void> {
    const verb = (request.method ?? 'GET').toLowerCase();
    const attributes = { user, verb, namespace: '', name: '', path: url.pathname };
    const { allowed } = await this.#core.extensions.authorizer.authorize(attributes);
    if (allowed) return;
    const who = JSON.stringify(user.username);
    throw new StatusError(
      403,
      'Forbidden',
      `forbidden: User ${who} cannot ${verb} path ${JSON.stringify(url.pathname)}`,
      {},
    );
  }

  #observe(exchange: Exchange, begun: number): void {
    const { target, verb, response, url } = exchange;
    const { resource } = attributesOf(exchange);
    this.#metrics.observe({
      verb,
      group: resource?.group ?? '',
      version: resource?.version ?? '',
      resource: resource?.plural ?? '',
      subresource: resource?.subresource ?? '',
      scope: target.name !== '' ? 'resource' : target.namespace !== '' ? 'namespace' : 'cluster',
      dryRun: url.searchParams.get('dryRun') ?? '',
      code: response.statusCode,
      seconds: (this.#core.clock.monotonic() - begun) / 1000,
      longRunning: verb === 'watch' || ['exec', 'attach', 'portforward', 'log', 'proxy'].includes(target.subresource),
    });
  }
}

function parseUrl(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'https://server');
  } catch {
    throw new StatusError(400, 'BadRequest', 'the request target is no path');
  }
}

/** Answers an upgrade that cannot be: a plain response on the raw socket. */
function refuseUpgrade(socket: Socket, error: StatusError): void {
  if (socket.destroyed) return;
  const body = JSON.stringify(error.toStatus());
  socket.end(
    `HTTP/1.1 ${error.code} ${error.reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

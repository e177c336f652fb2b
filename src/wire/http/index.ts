export type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
export type { Socket } from 'node:net';
export { connectProbe } from './connect-probe.ts';
export { HttpClient, type HttpClientOptions, HttpError, type HttpRequest, type HttpResponse } from './http-client.ts';
export {
  clientCertificateOf,
  createHttpServer,
  type HttpServer,
  type HttpServerOptions,
  ListenError,
  type ListenPlace,
  type ServerTls,
} from './http-server.ts';

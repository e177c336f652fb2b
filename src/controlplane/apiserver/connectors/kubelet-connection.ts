import { HttpClient, type IncomingMessage } from '../../../wire/http/index.ts';
import type { ConnectResponse, Registry } from '../extension-points.ts';
import { notFound, StatusError } from '../status-error.ts';
import { badRequest } from './answers.ts';

/** How the API server presents itself to kubelets, PEM. */
export interface KubeletClientOptions {
  cert: string;
  key: string;
  /** Who signs the kubelets' certificates. Without it they are not checked, as upstream does by default. */
  ca?: string;
}

const addressTypes = ['InternalIP', 'ExternalIP', 'InternalDNS', 'ExternalDNS', 'Hostname'];

/** Ways to the kubelets of the cluster. */
export class KubeletConnections {
  readonly #options: KubeletClientOptions | undefined;
  readonly #clients = new Map<string, HttpClient>();

  constructor(options: KubeletClientOptions | undefined) {
    this.#options = options;
  }

  /** The client of a node's kubelet. @throws StatusError 404 for an unknown node, 500 for one without an address */
  clientOf(registry: Registry, nodeName: string): HttpClient {
    const node: any = registry.get('nodes', '', nodeName);
    if (!node) throw notFound('', 'nodes', nodeName);
    const addresses: any[] = node.status?.addresses ?? [];
    const address = addressTypes
      .map((type) => addresses.find((one) => one.type === type)?.address)
      .find((one) => one !== undefined);
    if (!address) throw new StatusError(500, 'InternalError', `no preferred addresses found; known addresses: []`);
    const port: number = node.status?.daemonEndpoints?.kubeletEndpoint?.Port || 10_250;
    const host = address.includes(':') ? `[${address}]` : address;
    return this.#clientAt(`https://${host}:${port}`);
  }

  #clientAt(baseUrl: string): HttpClient {
    const known = this.#clients.get(baseUrl);
    if (known) return known;
    const { cert, key, ca } = this.#options ?? {};
    const client = new HttpClient({
      baseUrl,
      ...(cert && key ? { cert, key } : {}),
      ...(ca ? { ca } : { insecureSkipTlsVerify: true }),
    });
    this.#clients.set(baseUrl, client);
    return client;
  }

  /** Drops all connections. */
  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}

/** The container that a request is about: the one it names, or the only one. @throws StatusError 400 */
export function chooseContainer(pod: any, wanted: string | null): string {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = pod.spec;
  const names = (list: any[]) => list.map(({ name }) => name).join(' ');
  if (wanted) {
    const all = [...containers, ...initContainers, ...ephemeralContainers];
    if (all.some(({ name }) => name === wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${pod.metadata.name}`);
  }
  if (containers.length === 1) return containers[0].name;
  const more = [
    ...(initContainers.length > 0 ? [` or one of the init containers: [${names(initContainers)}]`] : []),
    ...(ephemeralContainers.length > 0 ? [` or one of the ephemeral containers: [${names(ephemeralContainers)}]`] : []),
  ];
  throw badRequest(
    `a container name must be specified for pod ${pod.metadata.name}, choose one of: [${names(containers)}]${more.join('')}`,
  );
}

/** The pod of a request. @throws StatusError 404 */
export function podOf(request: { registry: Registry; namespace: string; name: string }): any {
  const pod = request.registry.get('pods', request.namespace, request.name);
  if (!pod) throw notFound('', 'pods', request.name);
  return pod;
}

const reasons: Record<number, string> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
};

/** A kubelet's refusal, in its own words. */
export async function refusalOf(message: IncomingMessage): Promise<StatusError> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString().trim();
  const status = message.statusCode ?? 500;
  const known = parseStatus(text);
  if (known) return new StatusError(status, known.reason ?? 'Unknown', known.message ?? text, known.details);
  return new StatusError(status, reasons[status] ?? 'Unknown', text || `the server responded with status ${status}`);
}

function parseStatus(text: string): { reason?: string; message?: string; details?: any } | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const value = JSON.parse(text);
    return value.kind === 'Status' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Headers that belong to one connection. */
const hopHeaders = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Another server's answer, passed on as it comes. */
export function passOn(message: IncomingMessage): ConnectResponse {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers)) {
    if (value !== undefined && !hopHeaders.has(name)) headers[name] = [value].flat().join(', ');
  }
  return { kind: 'stream', status: message.statusCode ?? 502, headers, body: message };
}

/** Nobody answers there. */
export function unreachable(error: unknown): StatusError {
  const text = error instanceof Error ? error.message : String(error);
  return new StatusError(500, 'InternalError', text);
}

/** nodes/proxy, pods/proxy and services/proxy: any HTTP to what runs in the cluster. */
import { HttpClient } from '../../../wire/http/index.ts';
import { tunnelUpgrade } from '../../../wire/streams/index.ts';
import type { Connector, ConnectRequest, ConnectResponse } from '../extension-points.ts';
import { notFound, StatusError } from '../status-error.ts';
import { badRequest } from './answers.ts';
import { type KubeletConnections, passOn } from './kubelet-connection.ts';

/** `[scheme:]name[:port]`, as names of proxied things are written. */
function splitName(text: string): { scheme: string; name: string; port: string } {
  const parts = text.split(':');
  if (parts.length === 1) return { scheme: '', name: parts[0]!, port: '' };
  if (parts.length === 2) return { scheme: '', name: parts[0]!, port: parts[1]! };
  if (parts.length === 3 && ['', 'http', 'https'].includes(parts[0]!)) {
    return { scheme: parts[0]!, name: parts[1]!, port: parts[2]! };
  }
  throw badRequest(`invalid proxy request ${JSON.stringify(text)}`);
}

const bodyLimit = 64 * 1024 * 1024;

async function readInput(request: ConnectRequest): Promise<Buffer | undefined> {
  if (!request.input || ['GET', 'HEAD', 'OPTIONS'].includes(request.method)) return undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.input) {
    size += chunk.length;
    if (size > bodyLimit) throw new StatusError(413, 'RequestEntityTooLarge', 'the body is too large to be proxied');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Headers that are for the API server, or for one connection, alone. */
const ownHeaders = new Set([
  'host',
  'authorization',
  'connection',
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'expect',
  'upgrade',
]);

async function forward(request: ConnectRequest, client: HttpClient, target: string): Promise<ConnectResponse> {
  const { upgrade } = request;
  if (upgrade) {
    await tunnelUpgrade(upgrade.raw, upgrade.socket, upgrade.head, { client, path: target });
    return { kind: 'taken' };
  }
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !ownHeaders.has(name) && !name.startsWith('impersonate-')),
  ) as Record<string, string>;
  const body = await readInput(request);
  try {
    const message = await client.stream({
      method: request.method,
      path: target,
      headers,
      signal: request.signal,
      ...(body ? { body } : {}),
    });
    return passOn(message);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new StatusError(503, 'ServiceUnavailable', `error trying to reach service: ${text}`);
  }
}

const targetPath = (request: ConnectRequest): string => `/${request.subpath.replace(/^\//, '')}${request.url.search}`;

/** nodes/proxy: the kubelet's own API. */
export function createNodeProxy(kubelets: KubeletConnections): Connector {
  return async (request) => {
    const { name, port } = splitName(request.name);
    const node: any = request.registry.get('nodes', '', name);
    if (!node) throw notFound('', 'nodes', name);
    const own = String(node.status?.daemonEndpoints?.kubeletEndpoint?.Port || 10_250);
    if (port !== '' && port !== own) throw badRequest(`address not allowed: only the kubelet's port ${own} is proxied`);
    return forward(request, kubelets.clientOf(request.registry, name), targetPath(request));
  };
}

/** Where a pod or endpoint listens. */
function clientOf(scheme: string, address: string, port: string | number): HttpClient {
  const host = address.includes(':') ? `[${address}]` : address;
  return new HttpClient({
    baseUrl: `${scheme || 'http'}://${host}:${port}`,
    insecureSkipTlsVerify: true,
    keepAlive: false,
  });
}

/** Addresses that lead into the machine or its neighbourhood rather than to a pod. */
const isUnsafe = (address: string): boolean => /^(127\.|169\.254\.|0\.|::1$|fe80:)/i.test(address);

/** pods/proxy. */
export const proxyToPod: Connector = async (request) => {
  const { scheme, name, port } = splitName(request.name);
  const pod: any = request.registry.get('pods', request.namespace, name);
  if (!pod) throw notFound('', 'pods', name);
  const address: string | undefined = pod.status?.podIP;
  if (!address) throw badRequest('address not allowed: the pod has no address yet');
  if (isUnsafe(address)) throw badRequest('address not allowed');
  const ports = (pod.spec?.containers ?? []).flatMap((container: any) => container.ports ?? []);
  const named = ports.find((one: any) => one.name === port);
  const chosen = port === '' ? (ports[0]?.containerPort ?? 80) : (named?.containerPort ?? port);
  return forward(request, clientOf(scheme, address, chosen), targetPath(request));
};

/** services/proxy: any endpoint of the Service that is ready. */
export const proxyToService: Connector = async (request) => {
  const { scheme, name, port } = splitName(request.name);
  const { registry, namespace } = request;
  const service: any = registry.get('services', namespace, name);
  if (!service) throw notFound('', 'services', name);
  const ports: any[] = service.spec?.ports ?? [];
  const chosen =
    port === ''
      ? ports.length === 1
        ? ports[0]
        : undefined
      : ports.find((one) => one.name === port || String(one.port) === port);
  const none = new StatusError(
    503,
    'ServiceUnavailable',
    `no endpoints available for service ${JSON.stringify(request.name)}`,
  );
  if (!chosen) {
    throw new StatusError(
      503,
      'ServiceUnavailable',
      `no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`,
    );
  }
  const targets: { address: string; port: number }[] = [];
  for (const slice of registry.list<any>('discovery.k8s.io/endpointslices', namespace)) {
    if (slice.metadata.labels?.['kubernetes.io/service-name'] !== name) continue;
    const there = (slice.ports ?? []).find((one: any) => (one.name ?? '') === (chosen.name ?? ''));
    if (!there?.port) continue;
    for (const { addresses = [], conditions = {} } of slice.endpoints ?? []) {
      if (conditions.ready !== false && addresses[0]) targets.push({ address: addresses[0], port: there.port });
    }
  }
  const target = targets[Math.floor(Math.random() * targets.length)];
  if (!target) throw none;
  return forward(request, clientOf(scheme, target.address, target.port), targetPath(request));
};

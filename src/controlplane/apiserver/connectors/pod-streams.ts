/** pods/log, exec, attach and portforward: what the kubelet of the pod's node serves. */
import { tunnelUpgrade } from '../../../wire/streams/index.ts';
import type { Connector, ConnectRequest, ConnectResponse, FieldError } from '../extension-points.ts';
import { invalidValue } from '../rules/field-errors.ts';
import { invalid } from '../status-error.ts';
import { badRequest, methodNotAllowed } from './answers.ts';
import {
  chooseContainer,
  type KubeletConnections,
  passOn,
  podOf,
  refusalOf,
  unreachable,
} from './kubelet-connection.ts';

const path = (...parts: string[]): string => parts.map((part) => `/${encodeURIComponent(part)}`).join('');

/** Options of pods/log that the kubelet is told. */
const logOptions = [
  'follow',
  'previous',
  'sinceSeconds',
  'sinceTime',
  'timestamps',
  'tailLines',
  'limitBytes',
  'stream',
];

function checkLogOptions(query: URLSearchParams, name: string): void {
  const errors: FieldError[] = [];
  for (const key of ['sinceSeconds', 'tailLines', 'limitBytes']) {
    const text = query.get(key);
    if (text === null || text === '') continue;
    const value = Number(text);
    if (!Number.isInteger(value)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
    const least = key === 'tailLines' ? 0 : 1;
    const why = least === 0 ? 'must be greater than or equal to 0' : 'must be greater than 0';
    if (value < least) errors.push(invalidValue(key, value, why));
  }
  if (query.get('sinceSeconds') && query.get('sinceTime')) {
    const message = 'Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified';
    errors.push({ field: 'sinceSeconds', reason: 'FieldValueForbidden', message });
  }
  if (errors.length > 0) throw invalid('', 'PodLogOptions', name, errors);
}

const text = { 'Content-Type': 'text/plain' };

async function* nothing(): AsyncIterable<Uint8Array> {}

/** pods/log. */
export function createPodLog(kubelets: KubeletConnections): Connector {
  return async (request) => {
    if (request.method !== 'GET') throw methodNotAllowed();
    const pod = podOf(request);
    const query = request.url.searchParams;
    checkLogOptions(query, request.name);
    const container = chooseContainer(pod, query.get('container'));
    // A pod that is on no node yet has said nothing.
    if (!pod.spec.nodeName) return { kind: 'stream', status: 200, headers: text, body: nothing() };
    const client = kubelets.clientOf(request.registry, pod.spec.nodeName);
    const passed = new URLSearchParams();
    for (const key of logOptions) {
      const value = query.get(key);
      if (value !== null && value !== '') passed.set(key, value);
    }
    const question = passed.size > 0 ? `?${passed}` : '';
    const target = `${path('containerLogs', request.namespace, request.name, container)}${question}`;
    let message: Awaited<ReturnType<typeof client.stream>>;
    try {
      message = await client.stream({ path: target, signal: request.signal });
    } catch (error) {
      throw unreachable(error);
    }
    if (message.statusCode !== 200) throw await refusalOf(message);
    return { kind: 'stream', status: 200, headers: text, body: message };
  };
}

/** The names of the streams' switches, here and at the kubelet. */
const switches = [
  ['stdin', 'input'],
  ['stdout', 'output'],
  ['stderr', 'error'],
  ['tty', 'tty'],
] as const;

const isSet = (value: string | null): boolean => value !== null && /^(1|t|true)$/i.test(value);

/** pods/exec and pods/attach. */
export function createPodCommand(kind: 'exec' | 'attach', kubelets: KubeletConnections): Connector {
  return async (request) => {
    const pod = assigned(request);
    const query = request.url.searchParams;
    const container = chooseContainer(pod, query.get('container'));
    const passed = new URLSearchParams();
    for (const [name, there] of switches) if (isSet(query.get(name))) passed.set(there, '1');
    if (kind === 'exec') {
      const command = query.getAll('command');
      if (command.length === 0) throw badRequest('you must specify at least 1 command for the container');
      for (const part of command) passed.append('command', part);
    }
    if (!['input', 'output', 'error'].some((name) => passed.has(name))) {
      throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
    }
    return tunnel(request, kubelets, pod, `${path(kind, request.namespace, request.name, container)}?${passed}`);
  };
}

/** pods/portforward. */
export function createPortForward(kubelets: KubeletConnections): Connector {
  return async (request) => {
    const pod = assigned(request);
    const ports = request.url.searchParams.getAll('ports').flatMap((one) => one.split(','));
    const passed = new URLSearchParams(ports.length > 0 ? [['port', ports.join(',')]] : []);
    return tunnel(request, kubelets, pod, `${path('portForward', request.namespace, request.name)}?${passed}`);
  };
}

/** The pod, on its node. @throws StatusError 400 before it has one */
function assigned(request: ConnectRequest): any {
  const pod = podOf(request);
  if (!pod.spec.nodeName) throw badRequest(`pod ${request.name} does not have a host assigned`);
  return pod;
}

/** Joins client and kubelet; what they say is theirs. */
async function tunnel(
  request: ConnectRequest,
  kubelets: KubeletConnections,
  pod: any,
  target: string,
): Promise<ConnectResponse> {
  const client = kubelets.clientOf(request.registry, pod.spec.nodeName);
  const { upgrade } = request;
  if (!upgrade) {
    // Without an upgrade the kubelet says what is missing.
    try {
      return passOn(await client.stream({ method: request.method, path: target, signal: request.signal }));
    } catch (error) {
      throw unreachable(error);
    }
  }
  await tunnelUpgrade(upgrade.raw, upgrade.socket, upgrade.head, { client, path: target });
  return { kind: 'taken' };
}

import { type EndpointSlice, type Node, type Pod, resources, type Service } from '../api/index.ts';
import type { Clock } from '../async/index.ts';
import type { ApiClient } from '../client/index.ts';
import type { Logger } from '../log/index.ts';
import { connect, isNodeReady, residentBytes } from './cluster-access.ts';
import { type ComponentRecord, type InstanceRecord, isRunning, readInstance } from './instance.ts';
import { daemonSetName } from './proxy-daemonset/manifest.ts';

/** Everything that `deckhand status` shows. */
export interface StatusReport {
  running: boolean;
  server: string;
  kubeconfig: string;
  startedAt: string;
  components: (ComponentRecord & { memoryBytes: number })[];
  /** The proxy, where it runs as a DaemonSet. */
  proxy?: { image: string; desired: number; ready: number; updated: number };
  /** Resident memory of all processes, bytes. */
  memoryBytes: number;
  node?: { name: string; ready: boolean; conditions: Record<string, string>; addresses: string[] };
  pods: { namespace: string; name: string; ready: string; phase: string; restarts: number; ip: string }[];
  services: { namespace: string; name: string; clusterIP: string; ports: string[]; endpoints: string[] }[];
  /** Why node, pods and Services are missing. */
  apiError?: string;
}

/** Collects the state of an instance; undefined when the data directory has none. */
export async function collectStatus(
  dataDirectory: string,
  context: { log: Logger; clock: Clock },
): Promise<StatusReport | undefined> {
  const instance = await readInstance(dataDirectory);
  if (!instance) return undefined;
  const report = await describeProcesses(instance);
  if (!report.running) return report;
  try {
    const client = await connect(dataDirectory, context);
    const signal = AbortSignal.timeout(5_000);
    const [proxy, node, pods, services, slices] = await Promise.all([
      describeProxy(instance, client, signal),
      client.get(resources.nodes, instance.nodeName, { signal }),
      client.list(resources.pods, { signal }),
      client.list(resources.services, { signal }),
      client.list(resources.endpointslices, { signal }),
    ]);
    return {
      ...report,
      ...(proxy ? { proxy } : {}),
      node: describeNode(node),
      pods: pods.items.map(describePod),
      services: services.items.map((one) => describeService(one, slices.items)),
    };
  } catch (error) {
    return { ...report, apiError: (error as Error).message };
  }
}

async function describeProcesses(instance: InstanceRecord): Promise<StatusReport> {
  const pids = new Map<number, number>([[instance.pid, await residentBytes(instance.pid)]]);
  for (const { pid } of instance.components) if (!pids.has(pid)) pids.set(pid, await residentBytes(pid));
  return {
    running: isRunning(instance),
    server: instance.server,
    kubeconfig: instance.kubeconfig,
    startedAt: instance.startedAt,
    components: instance.components.map((component) => ({ ...component, memoryBytes: pids.get(component.pid) ?? 0 })),
    memoryBytes: [...pids.values()].reduce((sum, bytes) => sum + bytes, 0),
    pods: [],
    services: [],
  };
}

async function describeProxy(
  { options }: InstanceRecord,
  client: ApiClient,
  signal: AbortSignal,
): Promise<StatusReport['proxy']> {
  if (options['proxy'] !== 'daemonset') return undefined;
  const { namespace, name } = daemonSetName;
  const { spec, status } = await client.get(resources.daemonsets, name, { namespace, signal });
  return {
    image: spec.template.spec?.containers[0]?.image ?? '',
    desired: status?.desiredNumberScheduled ?? 0,
    ready: status?.numberReady ?? 0,
    updated: status?.updatedNumberScheduled ?? 0,
  };
}

function describeNode(node: Node): StatusReport['node'] {
  return {
    name: node.metadata.name,
    ready: isNodeReady(node),
    conditions: Object.fromEntries((node.status?.conditions ?? []).map(({ type, status }) => [type, status])),
    addresses: (node.status?.addresses ?? []).map(({ type, address }) => `${type} ${address}`),
  };
}

function describePod(pod: Pod): StatusReport['pods'][number] {
  const statuses = pod.status?.containerStatuses ?? [];
  return {
    namespace: pod.metadata.namespace ?? '',
    name: pod.metadata.name,
    ready: `${statuses.filter(({ ready }) => ready).length}/${pod.spec.containers.length}`,
    phase: pod.metadata.deletionTimestamp ? 'Terminating' : (pod.status?.phase ?? 'Unknown'),
    restarts: statuses.reduce((sum, { restartCount }) => sum + restartCount, 0),
    ip: pod.status?.podIP ?? '',
  };
}

function describeService(service: Service, slices: EndpointSlice[]): StatusReport['services'][number] {
  const { name, namespace = '' } = service.metadata;
  const own = slices.filter(
    ({ metadata }) => metadata.namespace === namespace && metadata.labels?.['kubernetes.io/service-name'] === name,
  );
  const endpoints = own.flatMap((slice) =>
    (slice.endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready !== false)
      .flatMap(({ addresses }) => (slice.ports ?? []).map(({ port }) => `${addresses[0]}:${port}`)),
  );
  return {
    namespace,
    name,
    clusterIP: service.spec.clusterIP ?? '',
    ports: (service.spec.ports ?? []).map(
      ({ port, nodePort, protocol }) => `${port}${nodePort ? `:${nodePort}` : ''}/${protocol}`,
    ),
    endpoints,
  };
}

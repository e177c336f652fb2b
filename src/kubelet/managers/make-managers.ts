import { type Container, type Pod, quantityMilli, quantityValue } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { openCgroups } from '../../host/cgroups/index.ts';
import type { Logger } from '../../log/index.ts';
import type { AdmitHandler } from '../admission/admission.ts';
import { durationMs } from '../config/duration.ts';
import { isFeatureOn } from '../config/feature-gates.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { ConfigurationError } from '../errors.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { ContainerGrant, ContainerGrants } from '../pods/container-grant.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { CpuManager } from './cpu-manager.ts';
import { parseCpuOptions } from './cpu-options.ts';
import { formatCpuSet, parseCpuSet } from './cpu-set.ts';
import { readCpuState, writeCpuState } from './cpu-state.ts';
import { CpusetReconciler } from './cpuset-reconciler.ts';
import type { MachineTopology } from './machine-topology.ts';
import { MemoryManager } from './memory-manager.ts';
import { readMemoryState, writeMemoryState } from './memory-state.ts';
import { ResourceAllocation } from './resource-allocation.ts';
import type { ResourceProvider } from './resource-provider.ts';
import type { TopologyPolicy } from './topology-hints.ts';
import { parseTopologyOptions } from './topology-options.ts';

/** What the managers are made from. */
export interface ManagerGround {
  settings: KubeletSettings;
  metrics: KubeletMetrics;
  client: RuntimeClient;
  clock: Clock;
  log: Logger;
}

/** What they ask of the rest of the kubelet. */
export interface ManagerLinks {
  cache: RuntimeCache;
  manager(): { records(): readonly PodRecord[]; record(podUid: string): PodRecord | undefined };
  sources(): { isReady: boolean };
  topology: MachineTopology;
  /** What else hands out resources: devices. */
  devices: ResourceProvider & { podUids(): string[]; grant(pod: Pod, container: Container): Promise<DeviceGrant> };
}

/** What comes with the devices of a container. */
export type DeviceGrant = Pick<ContainerGrant, 'devices' | 'mounts' | 'environment' | 'annotations' | 'cdiDevices'>;

/** The CPU, memory and topology managers. */
export interface Managers {
  /** Sets resources aside when a pod is let in. */
  admission: AdmitHandler;
  grants: ContainerGrants;
  /** Undefined with the policy none. */
  cpus: CpuManager | undefined;
  memory: MemoryManager | undefined;
  /** Takes over the state files. @throws ConfigurationError when they do not fit */
  start(): Promise<void>;
  stop(): void;
}

/** Makes the managers that the configuration asks for. @throws ConfigurationError when this machine is not for it */
export function makeManagers(ground: ManagerGround, links: ManagerLinks): Managers {
  const { settings, metrics, clock, log } = ground;
  const { configuration } = settings;
  const { topology, devices } = links;
  const policy = configuration.topologyManagerPolicy as TopologyPolicy;
  const options = parseTopologyOptions((configuration.topologyManagerPolicyOptions ?? {}) as Record<string, string>);
  if (policy !== 'none' && topology.nodes.length > options.maximumNodes)
    throw new ConfigurationError(
      'topologyManagerPolicy',
      `the machine has ${topology.nodes.length} NUMA nodes, more than max-allowable-numa-nodes ${options.maximumNodes}`,
    );
  const cpus = makeCpuManager(ground, topology);
  const memory = makeMemoryManager(ground, topology);
  if (cpus) metrics.onCollect(() => cpus.measure());
  const reconciler = cpus && makeReconciler(ground, links, cpus);
  const providers: ResourceProvider[] = [...(cpus ? [cpus] : []), ...(memory ? [memory] : []), devices];
  const allocation = new ResourceAllocation({
    ...{ providers, policy, nodes: topology.nodes, preferClosest: options.preferClosest, metrics, clock, log },
    scope: configuration.topologyManagerScope as 'container' | 'pod',
    // Whoever shares processors has to leave those that were given away.
    onChange: () => void reconciler?.reconcile(),
  });
  const timer = { cancel: () => {} };
  const forgetGone = (): void => {
    timer.cancel = clock.after(30_000, forgetGone).cancel;
    if (!links.sources().isReady) return;
    const known = new Set([...(cpus?.podUids() ?? []), ...(memory?.podUids() ?? []), ...devices.podUids()]);
    for (const uid of known) if (!links.manager().record(uid)) void allocation.release(uid);
  };
  return {
    ...{ admission: allocation, cpus, memory },
    grants: makeGrants(links, { cpus, memory, reconciler, log }),
    start: async () => {
      await startStates(settings, cpus, memory);
      reconciler?.start();
      timer.cancel = clock.after(1000, forgetGone).cancel;
    },
    stop: () => {
      timer.cancel();
      reconciler?.stop();
    },
  };
}

/** Files are there with the policy none too: a change of policy must not go unnoticed. */
async function startStates(
  { rootDirectory }: KubeletSettings,
  cpus: CpuManager | undefined,
  memory: MemoryManager | undefined,
): Promise<void> {
  const [cpuFile, memoryFile] = stateFiles(rootDirectory);
  if (cpus) await cpus.start();
  else if (!(await readCpuState(cpuFile, 'none')))
    await writeCpuState(cpuFile, 'none', { shared: new Set(), assigned: new Map() });
  if (memory) await memory.start();
  else if (!(await readMemoryState(memoryFile, 'None')))
    await writeMemoryState(memoryFile, 'None', { machineState: {}, entries: {} });
}

function stateFiles(root: string): [string, string] {
  return [`${root}/cpu_manager_state`, `${root}/memory_manager_state`];
}

function makeCpuManager({ settings, metrics, log }: ManagerGround, topology: MachineTopology): CpuManager | undefined {
  const { configuration, rootDirectory } = settings;
  if (configuration.cpuManagerPolicy !== 'static') return undefined;
  const alpha = isFeatureOn(configuration.featureGates, 'CPUManagerPolicyAlphaOptions');
  const named = parseCpuSet(String(configuration.reservedSystemCPUs));
  const { kubeReserved, systemReserved } = configuration;
  const milli = [kubeReserved, systemReserved].reduce((sum, one) => sum + quantityMilli(one?.['cpu'] ?? '0'), 0);
  if (named.size === 0 && milli === 0)
    throw new ConfigurationError(
      'cpuManagerPolicy',
      'static needs processors that are reserved: set reservedSystemCPUs, or cpu in systemReserved or kubeReserved',
    );
  return new CpuManager({
    topology,
    options: parseCpuOptions((configuration.cpuManagerPolicyOptions ?? {}) as Record<string, string>, alpha),
    reserved: named.size > 0 ? named : Math.ceil(milli / 1000),
    file: stateFiles(rootDirectory)[0],
    metrics,
    log,
  });
}

function makeMemoryManager(
  { settings, metrics, log }: ManagerGround,
  topology: MachineTopology,
): MemoryManager | undefined {
  const { configuration, rootDirectory } = settings;
  if (configuration.memoryManagerPolicy !== 'Static') return undefined;
  const reserved = new Map<number, Record<string, number>>();
  const total = new Map<string, number>();
  for (const { numaNode, limits } of configuration.reservedMemory as ReservedMemory[]) {
    if (!topology.nodes.some(({ id }) => id === numaNode))
      throw new ConfigurationError('reservedMemory', `there is no NUMA node ${numaNode} on this machine`);
    for (const [name, quantity] of Object.entries(limits)) {
      const bytes = quantityValue(String(quantity));
      reserved.set(numaNode, { ...reserved.get(numaNode), [name]: bytes });
      total.set(name, (total.get(name) ?? 0) + bytes);
    }
  }
  const capacity = topology.nodes.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  for (const name of new Set(['memory', ...total.keys()])) {
    const expected = reservedBytes(settings, name, capacity);
    const given = total.get(name) ?? 0;
    if (given !== expected)
      throw new ConfigurationError(
        'reservedMemory',
        `${given} bytes of ${name} in total must equal what kubeReserved, systemReserved and the hard eviction threshold set aside: ${expected}`,
      );
  }
  return new MemoryManager({ topology, reserved, file: stateFiles(rootDirectory)[1], metrics, log });
}

interface ReservedMemory {
  numaNode: number;
  limits: Record<string, unknown>;
}

/** What the node keeps back of a kind of memory, bytes. */
function reservedBytes({ configuration }: KubeletSettings, name: string, capacity: number): number {
  const { kubeReserved, systemReserved, evictionHard } = configuration;
  const sum = [kubeReserved, systemReserved].reduce((total, one) => total + quantityValue(one?.[name] ?? '0'), 0);
  if (name !== 'memory') return sum;
  const threshold = evictionHard ? (evictionHard['memory.available'] ?? '0') : '100Mi';
  return (
    sum +
    (threshold.endsWith('%') ? Math.floor((capacity * Number(threshold.slice(0, -1))) / 100) : quantityValue(threshold))
  );
}

function makeReconciler({ settings, client, clock, log }: ManagerGround, links: ManagerLinks, cpus: CpuManager) {
  return new CpusetReconciler({
    ...{ cpus, client, cache: links.cache, clock, log },
    records: () =>
      links
        .manager()
        .records()
        .filter(({ phase }) => phase === 'syncing'),
    periodMs: durationMs(String(settings.configuration.cpuManagerReconcilePeriod)),
  });
}

function makeGrants(
  links: ManagerLinks,
  {
    cpus,
    memory,
    reconciler,
    log,
  }: {
    cpus: CpuManager | undefined;
    memory: MemoryManager | undefined;
    reconciler: CpusetReconciler | undefined;
    log: Logger;
  },
): ContainerGrants {
  const cpuset = (cpus || memory) && openCgroups().directory('cpuset', '/') !== undefined;
  if ((cpus || memory) && !cpuset)
    log.warn(
      'there is no cpuset controller: processors and memory are set aside, and containers are not kept to theirs',
    );
  return {
    of: async (pod, container) => {
      const { uid } = pod.metadata;
      const own = cpuset ? formatCpuSet(cpus?.cpusOf(uid, container.name) ?? []) : '';
      reconciler?.note(uid, container.name, own);
      return {
        ...(await links.devices.grant(pod, container)),
        cpus: own,
        memoryNodes: cpuset ? formatCpuSet(memory?.nodesOf(uid, container.name) ?? []) : '',
        exclusiveCpus: cpus?.exclusiveOf(uid, container.name) !== undefined,
      };
    },
    hasExclusiveCpus: (podUid) => cpus?.podUids().includes(podUid) ?? false,
  };
}

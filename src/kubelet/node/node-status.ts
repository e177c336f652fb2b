import { arch, hostname, release } from 'node:os';
import type { ContainerImage, Node, NodeCondition, NodeStatus } from '../../api/index.ts';
import { formatMilli, quantityMilli, quantityValue } from '../../api/index.ts';
import { type NodePressure, nodePressures } from '../pods/ports.ts';
import { type MachineCapacity, type Reserved, readText } from '../resources/index.ts';

/** Facts of which a node's status is made. */
export interface NodeFacts {
  nodeName: string;
  addresses: string[];
  /** What a cloud's controller has said where the node is; it has the last word. */
  cloudAddresses: NodeStatus['addresses'] | undefined;
  /** Whether it tells which features it has. */
  declaresFeatures: boolean;
  capacity: MachineCapacity;
  maxPods: number;
  /** What the configuration keeps from pods. */
  reserved: Reserved;
  /** What the hard eviction thresholds keep from them, bytes. */
  evictionReserved: { memoryBytes: number; storageBytes: number };
  /** Whether local storage is counted (localStorageCapacityIsolation). */
  localStorage: boolean;
  /** What runs short now. */
  pressures: ReadonlySet<NodePressure>;
  kubeletVersion: string;
  kubeletPort: number;
  runtime: RuntimeFacts;
  images: ContainerImage[];
  volumesInUse: string[];
  /** Devices of plugins, by resource. */
  devices: ReadonlyMap<string, { capacity: number; allocatable: number }>;
  /** Why the kubelet cannot work on pods, or undefined. */
  problem: string | undefined;
}

/** What the runtime says of itself. */
export interface RuntimeFacts {
  /** `name://version`; empty before it has answered. */
  version: string;
  /** Undefined when RuntimeReady. */
  problem: string | undefined;
  /** Undefined when NetworkReady. */
  networkProblem: string | undefined;
  handlers: { name: string; recursiveReadOnlyMounts: boolean; userNamespaces: boolean }[];
  supplementalGroupsPolicy: boolean;
}

/** Kubernetes names architectures as Go does. */
export const goArchitecture =
  ({ x64: 'amd64', arm64: 'arm64', ia32: '386', arm: 'arm' } as Record<string, string>)[arch()] ?? arch();

/** Labels that every node has. */
export function wellKnownLabels(nodeName: string): Record<string, string> {
  return {
    'beta.kubernetes.io/arch': goArchitecture,
    'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': goArchitecture,
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': 'linux',
  };
}

/** The status of a node; conditions keep the times of `before` where nothing changed. `now` is an API time. */
export function makeNodeStatus(facts: NodeFacts, before: Node | undefined, now: string): NodeStatus {
  const capacity = makeCapacity(facts);
  const foreign = foreignResources(before, facts);
  const devices = (of: 'capacity' | 'allocatable') =>
    Object.fromEntries([...facts.devices].map(([name, counts]) => [name, String(counts[of])]));
  return {
    addresses: facts.cloudAddresses?.length ? facts.cloudAddresses : ownAddresses(facts),
    capacity: { ...foreign, ...capacity, ...devices('capacity') },
    allocatable: { ...foreign, ...makeAllocatable(capacity, facts), ...devices('allocatable') },
    conditions: makeConditions(facts, before?.status?.conditions ?? [], now),
    daemonEndpoints: { kubeletEndpoint: { Port: facts.kubeletPort } },
    ...(facts.declaresFeatures ? { declaredFeatures: [...declaredFeatures] } : {}),
    features: { supplementalGroupsPolicy: facts.runtime.supplementalGroupsPolicy },
    images: facts.images,
    nodeInfo: makeNodeInfo(facts),
    runtimeHandlers: facts.runtime.handlers.map(({ name, recursiveReadOnlyMounts, userNamespaces }) => ({
      name,
      features: { recursiveReadOnlyMounts, userNamespaces },
    })),
    // An empty list takes the last name away; a status without the list would leave it there.
    ...(facts.volumesInUse.length > 0 || before?.status?.volumesInUse ? { volumesInUse: facts.volumesInUse } : {}),
  };
}

/** Features that a scheduler or an API server has to know of, by the names of their gates. */
const declaredFeatures = [
  'ExtendWebSocketsToKubelet',
  'InPlacePodLevelResourcesVerticalScaling',
  'InPlacePodVerticalScalingInitContainers',
  'RestartAllContainersOnContainerExits',
];

function ownAddresses({ addresses, nodeName }: NodeFacts): NonNullable<NodeStatus['addresses']> {
  return [...addresses.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: nodeName }];
}

/** Resources that an administrator has given the node by hand (`example.com/dongle`); all of them can be had. */
function foreignResources(before: Node | undefined, { devices }: NodeFacts): Record<string, string> {
  const isForeign = ([name]: [string, unknown]) =>
    name.includes('/') && !name.split('/')[0]!.endsWith('kubernetes.io') && !devices.has(name);
  return Object.fromEntries(
    Object.entries(before?.status?.capacity ?? {})
      .filter(isForeign)
      .map(([name, amount]) => [name, String(amount)]),
  );
}

function makeCapacity({ capacity, maxPods, localStorage }: NodeFacts): Record<string, string> {
  return {
    cpu: formatMilli(capacity.cpuMilli),
    ...(localStorage ? { 'ephemeral-storage': `${Math.floor(capacity.diskBytes / 1024)}Ki` } : {}),
    memory: `${Math.floor(capacity.memoryBytes / 1024)}Ki`,
    pods: String(maxPods),
    ...Object.fromEntries(
      Object.entries(capacity.hugepages).map(([size, bytes]) => [`hugepages-${size}`, String(bytes)]),
    ),
  };
}

/** Capacity less what is reserved for the system and for Kubernetes and less the hard eviction thresholds. */
export function makeAllocatable(
  capacity: Record<string, string>,
  { reserved, evictionReserved }: Pick<NodeFacts, 'reserved' | 'evictionReserved'>,
): Record<string, string> {
  const hugepages = Object.entries(capacity)
    .filter(([name]) => name.startsWith('hugepages-'))
    .reduce((sum, [, bytes]) => sum + Number(bytes), 0);
  const memory = quantityValue(capacity['memory']!) - reserved.memoryBytes - evictionReserved.memoryBytes - hugepages;
  const disk =
    quantityValue(capacity['ephemeral-storage'] ?? '0') - reserved.storageBytes - evictionReserved.storageBytes;
  return {
    ...capacity,
    cpu: formatMilli(Math.max(0, quantityMilli(capacity['cpu']!) - reserved.cpuMilli)),
    memory: `${Math.floor(Math.max(0, memory) / 1024)}Ki`,
    ...(capacity['ephemeral-storage'] === undefined
      ? {}
      : { 'ephemeral-storage': String(Math.floor(Math.max(0, disk))) }),
  };
}

/** Reason and message of each pressure: when there is none, and when there is. */
const pressureTexts: Record<NodePressure, readonly [none: [string, string], some: [string, string]]> = {
  MemoryPressure: [
    ['KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    ['KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'],
  ],
  DiskPressure: [
    ['KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
  ],
  PIDPressure: [
    ['KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    ['KubeletHasInsufficientPID', 'kubelet has insufficient PID available'],
  ],
};

function pressureCondition(type: NodePressure, pressed: boolean): NodeCondition {
  const [reason, message] = pressureTexts[type][pressed ? 1 : 0];
  return { type, status: pressed ? 'True' : 'False', reason, message };
}

function makeConditions(
  { problem, runtime, pressures }: NodeFacts,
  before: NodeCondition[],
  now: string,
): NodeCondition[] {
  const problems = [runtime.problem, runtime.networkProblem, problem].filter((one) => one !== undefined);
  const conditions: NodeCondition[] = [
    ...nodePressures.map((type) => pressureCondition(type, pressures.has(type))),
    problems.length === 0
      ? { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' }
      : {
          type: 'Ready',
          status: 'False',
          reason: 'KubeletNotReady',
          message: problems.length === 1 ? problems[0]! : `[${problems.join(', ')}]`,
        },
  ];
  const stamped = conditions.map((condition) => {
    const old = before.find(({ type }) => type === condition.type);
    const lastTransitionTime = old?.status === condition.status ? (old.lastTransitionTime ?? now) : now;
    return { ...condition, lastHeartbeatTime: now, lastTransitionTime };
  });
  // Conditions of others (a cloud's network, say) stay as they are.
  return [...before.filter(({ type }) => !conditions.some((own) => own.type === type)), ...stamped];
}

function makeNodeInfo({ kubeletVersion, runtime }: NodeFacts): NodeStatus['nodeInfo'] {
  return {
    architecture: goArchitecture,
    bootID: readText('/proc/sys/kernel/random/boot_id'),
    containerRuntimeVersion: runtime.version,
    kernelVersion: release(),
    kubeProxyVersion: '',
    kubeletVersion,
    machineID: readText('/etc/machine-id'),
    operatingSystem: 'linux',
    osImage: /^PRETTY_NAME="?([^"\n]*)/m.exec(readText('/etc/os-release'))?.[1] ?? 'Linux',
    systemUUID: readText('/sys/class/dmi/id/product_uuid') || readText('/etc/machine-id'),
  };
}

/** The name that a node has unless it is given one. */
export const defaultNodeName = (): string => hostname().toLowerCase();

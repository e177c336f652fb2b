import {
  type Container,
  controllerOf,
  labelSelectorRequirements,
  type Matcher,
  matchLabelSelector,
  matchRequirements,
  type Pod,
  type PodAffinityTerm,
  quantityMilli,
  quantityValue,
} from '../../api/index.ts';

/** Amounts by resource name: `cpu` in thousandths of a core, all others in their own unit. */
export type Amounts = Record<string, number>;

/** A host port that a pod takes. */
export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

/** A pod (anti-)affinity term, parsed. */
export interface AffinityTerm {
  topologyKey: string;
  matches: Matcher;
  /** Namespaces by name; with a selector also those it selects. */
  namespaces: ReadonlySet<string>;
  namespaceSelector?: Matcher;
  weight: number;
}

/** What the scheduler needs of a pod, worked out once. */
export interface PodInfo {
  pod: Pod;
  key: string;
  uid: string;
  priority: number;
  requests: Amounts;
  /** What scores assume: requests, with a little for containers that ask for nothing. */
  assumed: { cpu: number; memory: number };
  ports: HostPort[];
  owner: string | undefined;
  affinity: AffinityTerm[];
  antiAffinity: AffinityTerm[];
  preferredAffinity: AffinityTerm[];
}

const defaultRequest = { cpu: 100, memory: 200 * 1024 * 1024 };

/** A quantity as a number in the unit of its resource. */
export function amountOf(resource: string, quantity: string | number): number {
  return resource === 'cpu' ? quantityMilli(quantity) : quantityValue(quantity);
}

/** Works out what the scheduler needs of a pod. */
export function podInfoOf(pod: Pod): PodInfo {
  const { namespace = '', name, uid } = pod.metadata;
  const affinity = pod.spec.affinity;
  const term = (one: PodAffinityTerm, weight = 0) => affinityTerm(one, pod, weight);
  const weighted = (list: { weight: number; podAffinityTerm: PodAffinityTerm }[] | undefined, sign: number) =>
    (list ?? []).map((one) => term(one.podAffinityTerm, sign * one.weight));
  return {
    pod,
    key: `${namespace}/${name}`,
    uid,
    priority: pod.spec.priority ?? 0,
    requests: podRequests(pod),
    assumed: assumedRequests(pod),
    ports: hostPorts(pod),
    owner: controllerOf(pod)?.uid,
    affinity: (affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((one) => term(one)),
    antiAffinity: (affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((one) =>
      term(one),
    ),
    preferredAffinity: [
      ...weighted(affinity?.podAffinity?.preferredDuringSchedulingIgnoredDuringExecution, 1),
      ...weighted(affinity?.podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution, -1),
    ],
  };
}

/**
 * What a pod asks of a node: the greater of all containers together and any one moment of initialisation, sidecars
 * counting for both, plus the overhead of its runtime class. Pod-level requests stand for those of the containers.
 */
export function podRequests(pod: Pod): Amounts {
  const { initContainers = [], containers, overhead = {} } = pod.spec;
  const total: Amounts = {};
  for (const container of containers) add(total, requestsOf(container, pod));
  const sidecars: Amounts = {};
  const initial: Amounts = {};
  for (const container of initContainers) {
    const requests = requestsOf(container, pod);
    if (container.restartPolicy === 'Always') {
      add(total, requests);
      add(sidecars, requests);
      maximum(initial, sidecars);
    } else {
      const moment = { ...sidecars };
      add(moment, requests);
      maximum(initial, moment);
    }
  }
  maximum(total, initial);
  Object.assign(total, podLevelRequests(pod));
  for (const [name, quantity] of Object.entries(overhead)) total[name] = (total[name] ?? 0) + amountOf(name, quantity);
  return total;
}

/**
 * A container's requests; while a resize is under way, the greatest of what is asked, granted and in force. What the node
 * can never grant does not count.
 */
function requestsOf(container: Container, pod: Pod): Amounts {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  const status = [...containerStatuses, ...initContainerStatuses].find(({ name }) => name === container.name);
  const granted = [status?.allocatedResources, status?.resources?.requests];
  const known = granted.some((list) => list !== undefined);
  return greatest(isInfeasible(pod) && known ? granted : [container.resources?.requests, ...granted]);
}

/** The same of a pod as a whole. */
function podLevelRequests(pod: Pod): Amounts {
  const asked = pod.spec.resources?.requests;
  if (!asked) return {};
  const inForce = pod.status?.resources?.requests;
  // Of what was granted only what the pod itself asks for: the rest is the sum of its containers.
  const own = (list: Record<string, string> | undefined) =>
    list && Object.fromEntries(Object.entries(list).filter(([name]) => asked[name] !== undefined));
  const granted = [own(pod.status?.allocatedResources), own(inForce)];
  const known = granted.some((list) => list !== undefined);
  return greatest(isInfeasible(pod) && known ? granted : [asked, ...granted]);
}

function greatest(lists: (Record<string, string> | undefined)[]): Amounts {
  const amounts: Amounts = {};
  for (const list of lists) {
    for (const [name, quantity] of Object.entries(list ?? {}))
      amounts[name] = Math.max(amounts[name] ?? 0, amountOf(name, quantity));
  }
  return amounts;
}

function isInfeasible(pod: Pod): boolean {
  return (pod.status?.conditions ?? []).some(
    ({ type, status, reason }) => type === 'PodResizePending' && status === 'True' && reason === 'Infeasible',
  );
}

function add(total: Amounts, more: Amounts): void {
  for (const [name, amount] of Object.entries(more)) total[name] = (total[name] ?? 0) + amount;
}
function maximum(total: Amounts, other: Amounts): void {
  for (const [name, amount] of Object.entries(other)) total[name] = Math.max(total[name] ?? 0, amount);
}

function assumedRequests(pod: Pod): { cpu: number; memory: number } {
  const result = { cpu: 0, memory: 0 };
  for (const container of pod.spec.containers) {
    const requests = requestsOf(container, pod);
    result.cpu += requests['cpu'] ?? defaultRequest.cpu;
    result.memory += requests['memory'] ?? defaultRequest.memory;
  }
  return result;
}

function hostPorts(pod: Pod): HostPort[] {
  const containers = [
    ...pod.spec.containers,
    ...(pod.spec.initContainers ?? []).filter((one) => one.restartPolicy === 'Always'),
  ];
  return containers.flatMap((container) =>
    (container.ports ?? []).flatMap((port) => {
      const number = port.hostPort || (pod.spec.hostNetwork ? port.containerPort : 0);
      return number ? [{ ip: port.hostIP || '0.0.0.0', protocol: port.protocol ?? 'TCP', port: number }] : [];
    }),
  );
}

function affinityTerm(term: PodAffinityTerm, pod: Pod, weight: number): AffinityTerm {
  const own = pod.metadata.labels ?? {};
  const requirements = term.labelSelector ? labelSelectorRequirements(term.labelSelector) : undefined;
  for (const key of term.matchLabelKeys ?? []) {
    if (own[key] !== undefined) requirements?.push({ key, operator: 'In', values: [own[key]] });
  }
  for (const key of term.mismatchLabelKeys ?? []) {
    if (own[key] !== undefined) requirements?.push({ key, operator: 'NotIn', values: [own[key]] });
  }
  const named = term.namespaces ?? [];
  const ownNamespace = named.length === 0 && !term.namespaceSelector ? [pod.metadata.namespace ?? ''] : named;
  return {
    topologyKey: term.topologyKey,
    matches: requirements ? matchRequirements(requirements) : () => false,
    namespaces: new Set(ownNamespace),
    ...(term.namespaceSelector ? { namespaceSelector: matchLabelSelector(term.namespaceSelector) } : {}),
    weight,
  };
}

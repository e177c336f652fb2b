import { type Container, type Pod, quantityMilli, type ResourceRequirements } from '../../api/index.ts';

/** The resources of a pod's containers and, where it has some, of the pod as a whole. */
export interface PodResources {
  pod?: ResourceRequirements;
  containers: Record<string, ResourceRequirements>;
}

/** What can be changed while a pod runs. */
export const resizable = ['cpu', 'memory'] as const;

/** One of them. */
export type Resizable = (typeof resizable)[number];

/** The containers whose resources can be changed: all but the ephemeral ones, which have none. */
export function resizableContainers({ spec }: Pod): Container[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

/** The resources that a pod's spec says. */
export function resourcesOf(pod: Pod): PodResources {
  const { resources } = pod.spec;
  const containers = resizableContainers(pod).map((one) => [one.name, plain(one.resources)] as const);
  return { ...(resources ? { pod: plain(resources) } : {}), containers: Object.fromEntries(containers) };
}

/** The pod with these resources in its spec; containers that they do not name keep theirs. */
export function withResources(pod: Pod, resources: PodResources): Pod {
  const put = (container: Container): Container => {
    const own = resources.containers[container.name];
    return own ? { ...container, resources: merged(container.resources, own) } : container;
  };
  const { initContainers, containers, resources: whole, ...rest } = pod.spec;
  return {
    ...pod,
    spec: {
      ...rest,
      ...(initContainers ? { initContainers: initContainers.map(put) } : {}),
      containers: containers.map(put),
      ...(resources.pod ? { resources: merged(whole, resources.pod) } : {}),
    },
  };
}

/** Processors and memory of `given`, everything else as the spec has it. */
function merged(spec: ResourceRequirements | undefined, given: ResourceRequirements): ResourceRequirements {
  const list = (kind: 'requests' | 'limits') => {
    const others = Object.entries(spec?.[kind] ?? {}).filter(([name]) => !isResizable(name));
    const own = Object.entries(given[kind] ?? {}).filter(([name]) => isResizable(name));
    return Object.fromEntries([...own, ...others]);
  };
  const [requests, limits] = [list('requests'), list('limits')];
  return {
    ...(spec?.claims ? { claims: spec.claims } : {}),
    ...(Object.keys(limits).length > 0 || spec?.limits ? { limits } : {}),
    ...(Object.keys(requests).length > 0 || spec?.requests ? { requests } : {}),
  };
}

function plain(resources: ResourceRequirements | undefined): ResourceRequirements {
  const { requests, limits } = resources ?? {};
  return { ...(limits ? { limits } : {}), ...(requests ? { requests } : {}) };
}

const isResizable = (name: string): boolean => name === 'cpu' || name === 'memory';

/** Which of processors and memory differ, in what is requested or limited. */
export function differingResources(
  a: ResourceRequirements | undefined,
  b: ResourceRequirements | undefined,
): Resizable[] {
  const same = (kind: 'requests' | 'limits', name: Resizable) =>
    quantityMilli(a?.[kind]?.[name] ?? '0') === quantityMilli(b?.[kind]?.[name] ?? '0');
  return resizable.filter((name) => !same('requests', name) || !same('limits', name));
}

/** Whether two sets of resources ask for the same processors and memory. */
export function sameResources(a: PodResources, b: PodResources): boolean {
  if (differingResources(a.pod, b.pod).length > 0) return false;
  const names = new Set([...Object.keys(a.containers), ...Object.keys(b.containers)]);
  return [...names].every((name) => differingResources(a.containers[name], b.containers[name]).length === 0);
}

/** What a container's own cgroup is held to: its limits, or those of the pod as a whole where it has none. */
export function effectiveLimits(
  whole: ResourceRequirements | undefined,
  own: ResourceRequirements | undefined,
): ResourceRequirements {
  const limits: Record<string, string> = {};
  for (const name of resizable) {
    const value = own?.limits?.[name] ?? whole?.limits?.[name];
    if (value !== undefined) limits[name] = value;
  }
  return { ...(own?.requests ? { requests: own.requests } : {}), limits };
}

import { parseQuantity } from '../../../api/index.ts';

const qosResources = ['cpu', 'memory'] as const;

/** The quality-of-service class of a PodSpec: Guaranteed, Burstable or BestEffort, from requests and limits of CPU and memory. */
export function qosClassOf(spec: any): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  if (spec.resources && hasAny(spec.resources)) return classOf([spec.resources]);
  return classOf([...(spec.initContainers ?? []), ...(spec.containers ?? [])].map(({ resources }) => resources ?? {}));
}

const hasAny = (resources: any): boolean =>
  qosResources.some((name) => isPositive(resources.requests?.[name]) || isPositive(resources.limits?.[name]));

function classOf(list: any[]): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  if (!list.some(hasAny)) return 'BestEffort';
  const guaranteed = list.every((resources) =>
    qosResources.every((name) => {
      const limit = resources.limits?.[name];
      const request = resources.requests?.[name] ?? limit;
      return isPositive(limit) && parseQuantity(request) === parseQuantity(limit);
    }),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

function isPositive(quantity: string | undefined): boolean {
  return quantity !== undefined && parseQuantity(quantity) > 0n;
}

/**
 * What a pod asks of a node for each resource, in nano units: the containers together with the restartable init
 * containers, or the largest init container with those that run beside it, whichever is more; plus the overhead.
 */
export function podRequests(spec: any, which: 'requests' | 'limits' = 'requests'): Map<string, bigint> {
  const total = new Map<string, bigint>();
  const sidecars = new Map<string, bigint>();
  const initial = new Map<string, bigint>();
  for (const container of spec.containers ?? []) add(total, container.resources?.[which]);
  for (const container of spec.initContainers ?? []) {
    const own = container.resources?.[which] ?? {};
    if (container.restartPolicy === 'Always') add(sidecars, own);
    const here = new Map(sidecars);
    if (container.restartPolicy !== 'Always') add(here, own);
    for (const [name, value] of here) if (value > (initial.get(name) ?? 0n)) initial.set(name, value);
  }
  for (const [name, value] of sidecars) total.set(name, (total.get(name) ?? 0n) + value);
  for (const [name, value] of initial) if (value > (total.get(name) ?? 0n)) total.set(name, value);
  for (const [name, value] of Object.entries<string>(spec.resources?.[which] ?? {}))
    total.set(name, parseQuantity(value));
  if (which === 'requests' || total.size > 0) add(total, spec.overhead);
  return total;
}

function add(sum: Map<string, bigint>, list: Record<string, string> | undefined): void {
  for (const name in list ?? {}) sum.set(name, (sum.get(name) ?? 0n) + parseQuantity(list![name]!));
}

import { type Container, type Pod, quantityMilli } from '../../api/index.ts';
import { isSidecar } from '../pods/names.ts';

/** Amounts in thousandths, by resource. */
export type Amounts = Map<string, number>;

/** Resources that a pod may ask for as a whole, in the place of the sum of its containers. */
export const isPodLevelResource = (name: string): boolean =>
  name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');

/**
 * What a pod asks of its node, in thousandths by resource: the containers together, or what the widest init container
 * needs beside the sidecars that were started before it; what it asks for as a whole instead; and the overhead of its
 * runtime class.
 */
export function podRequests(pod: Pod): Amounts {
  const total = containerTotals(pod, requestsOf);
  for (const [name, value] of Object.entries(pod.spec.resources?.requests ?? {}))
    if (isPodLevelResource(name)) total.set(name, quantityMilli(value));
  addTo(total, amounts(pod.spec.overhead));
  return total;
}

/** What a pod may use at most, in thousandths; a resource that a container leaves open counts as nothing here. */
export function podLimitTotals(pod: Pod): Amounts {
  const total = containerTotals(pod, ({ resources }) => amounts(resources?.limits));
  for (const [name, value] of Object.entries(pod.spec.resources?.limits ?? {}))
    if (isPodLevelResource(name)) total.set(name, quantityMilli(value));
  for (const [name, amount] of amounts(pod.spec.overhead))
    if (total.get(name)) total.set(name, total.get(name)! + amount);
  return total;
}

function containerTotals(pod: Pod, of: (container: Container) => Amounts): Amounts {
  const { containers, initContainers = [] } = pod.spec;
  const total: Amounts = new Map();
  for (const container of containers) addTo(total, of(container));
  const sidecars: Amounts = new Map();
  const widest: Amounts = new Map();
  for (const container of initContainers) {
    if (isSidecar(container)) {
      addTo(sidecars, of(container));
      raiseTo(widest, sidecars);
    } else {
      const both = new Map(sidecars);
      addTo(both, of(container));
      raiseTo(widest, both);
    }
  }
  addTo(total, sidecars);
  raiseTo(total, widest);
  return total;
}

function requestsOf({ resources }: Container): Amounts {
  return amounts({ ...resources?.limits, ...resources?.requests });
}

function amounts(list: Record<string, string> | undefined): Amounts {
  return new Map(Object.entries(list ?? {}).map(([name, value]) => [name, quantityMilli(value)]));
}

function addTo(total: Amounts, part: Amounts): void {
  for (const [name, amount] of part) total.set(name, (total.get(name) ?? 0) + amount);
}

function raiseTo(total: Amounts, least: Amounts): void {
  for (const [name, amount] of least) total.set(name, Math.max(total.get(name) ?? 0, amount));
}

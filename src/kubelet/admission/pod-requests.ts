import { type Container, type Pod, quantityMilli } from '../../api/index.ts';
import { isSidecar } from '../pods/names.ts';

/**
 * What a pod asks of its node, in thousandths by resource: the containers together, or what the widest init container
 * needs beside the sidecars that were started before it; and the overhead of its runtime class.
 */
export function podRequests(pod: Pod): Map<string, number> {
  const { containers, initContainers = [], overhead = {}, resources } = pod.spec!;
  const total = new Map<string, number>();
  for (const container of containers) addTo(total, requestsOf(container));
  const sidecars = new Map<string, number>();
  const widest = new Map<string, number>();
  for (const container of initContainers) {
    if (isSidecar(container)) {
      addTo(sidecars, requestsOf(container));
      raiseTo(widest, sidecars);
    } else {
      const both = new Map(sidecars);
      addTo(both, requestsOf(container));
      raiseTo(widest, both);
    }
  }
  addTo(total, sidecars);
  raiseTo(total, widest);
  // A request for the pod as a whole stands in for the sum.
  for (const [name, value] of Object.entries(resources?.requests ?? {})) total.set(name, quantityMilli(value));
  addTo(total, new Map(Object.entries(overhead).map(([name, value]) => [name, quantityMilli(value)])));
  return total;
}

function requestsOf({ resources }: Container): Map<string, number> {
  const requests = { ...resources?.limits, ...resources?.requests };
  return new Map(Object.entries(requests).map(([name, value]) => [name, quantityMilli(value)]));
}

function addTo(total: Map<string, number>, part: Map<string, number>): void {
  for (const [name, amount] of part) total.set(name, (total.get(name) ?? 0) + amount);
}

function raiseTo(total: Map<string, number>, least: Map<string, number>): void {
  for (const [name, amount] of least) total.set(name, Math.max(total.get(name) ?? 0, amount));
}

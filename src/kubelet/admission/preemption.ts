import type { Pod } from '../../api/index.ts';
import { isCritical, qosClass } from '../pods/container-resources.ts';
import { podRequests } from '../resources/pod-requests.ts';
import type { Misfit } from './predicates.ts';

/** So much of a resource has to become free; units as in {@link podRequests} (thousandths). */
type Needs = Map<string, number>;

/** Raised when not even all pods that may be ended would make the room. */
export class PreemptionError extends Error {}

/** Whether the node may end one pod for another: a critical one takes the place of others, and more important of less. */
export function isPreemptable(preemptor: Pod, other: Pod): boolean {
  if (isCritical(preemptor) && !isCritical(other)) return true;
  const [own, theirs] = [preemptor.spec.priority, other.spec.priority];
  return own !== undefined && theirs !== undefined && own > theirs;
}

/**
 * Chooses the pods to end so that a critical pod fits: as few as will do, best-effort pods before burstable ones before
 * guaranteed ones. Pure.
 * @throws PreemptionError
 */
export function choosePreempted(
  pod: Pod,
  others: readonly Pod[],
  misfits: readonly Extract<Misfit, { kind: 'resource' }>[],
): Pod[] {
  const needs: Needs = new Map(
    misfits.map(({ resource, requested, used, capacity }) => {
      const unit = resource === 'cpu' ? 1 : 1000;
      return [resource, (requested - (capacity - used)) * unit];
    }),
  );
  const candidates = others.filter((other) => isPreemptable(pod, other));
  const ofClass = (name: string) => candidates.filter((other) => qosClass(other) === name);
  const [bestEffort, burstable, guaranteed] = [ofClass('BestEffort'), ofClass('Burstable'), ofClass('Guaranteed')];
  const unmet = without(needs, candidates);
  if (unmet.size > 0)
    throw new PreemptionError(`no set of running pods found to reclaim resources: ${describe(unmet)}`);
  // From the dearest class down: what it must give even if all cheaper pods were ended.
  const fromGuaranteed = nearest(guaranteed, without(needs, [...bestEffort, ...burstable]));
  const fromBurstable = nearest(burstable, without(needs, [...bestEffort, ...fromGuaranteed]));
  const fromBestEffort = nearest(bestEffort, without(needs, [...fromBurstable, ...fromGuaranteed]));
  return [...fromBestEffort, ...fromBurstable, ...fromGuaranteed];
}

/** Takes, again and again, the pod that comes nearest to what is still needed; of equals the smaller. */
function nearest(pods: readonly Pod[], needs: Needs): Pod[] {
  const left = [...pods];
  const chosen: Pod[] = [];
  let open = needs;
  while (open.size > 0 && left.length > 0) {
    left.sort(
      (a, b) =>
        distance(a, open) - distance(b, open) ||
        size(a, 'memory') - size(b, 'memory') ||
        size(a, 'cpu') - size(b, 'cpu'),
    );
    const best = left.shift()!;
    chosen.push(best);
    open = without(open, [best]);
  }
  return chosen;
}

/** What is left of the needs when these pods end. */
function without(needs: Needs, pods: readonly Pod[]): Needs {
  const left: Needs = new Map();
  for (const [name, amount] of needs) {
    const rest = amount - pods.reduce((sum, pod) => sum + size(pod, name), 0);
    if (rest > 0) left.set(name, rest);
  }
  return left;
}

/** How far a pod is from meeting the needs, each resource weighing the same. */
function distance(pod: Pod, needs: Needs): number {
  let sum = 0;
  for (const [name, amount] of needs) sum += (Math.max(0, amount - size(pod, name)) / amount) ** 2;
  return sum;
}

/** Of pods themselves each is one. */
function size(pod: Pod, resource: string): number {
  return resource === 'pods' ? 1000 : (podRequests(pod).get(resource) ?? 0);
}

function describe(needs: Needs): string {
  const parts = [...needs].map(([name, amount]) => `(res: ${name}, q: ${name === 'cpu' ? amount : amount / 1000}), `);
  return `[${parts.join('')}]`;
}

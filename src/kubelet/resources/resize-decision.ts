import type { Node, Pod } from '../../api/index.ts';
import { quantityMilli } from '../../api/index.ts';
import { describeMisfit, resourceMisfits } from '../admission/predicates.ts';
import { maySwap, qosClass, type ResourceDefaults } from '../pods/container-resources.ts';
import { podRequests } from './pod-requests.ts';
import { differingResources, resizableContainers } from './pod-resources.ts';

/** What of the configuration forbids resizes. */
export interface ResizePolicies {
  cpuManager: string;
  memoryManager: string;
  defaults: ResourceDefaults;
}

/** Why a resize is not granted. */
export interface RefusedResize {
  /** Deferred: not now. Infeasible: never on this node. */
  reason: 'Deferred' | 'Infeasible';
  message: string;
  /** For metrics. */
  cause: string;
}

/**
 * Decides whether a pod gets what it wants instead of what it has. Pure.
 * @param others the other pods with what they were granted
 */
export function refusedResize(
  wanted: Pod,
  granted: Pod,
  others: readonly Pod[],
  { node, maxPods, policies }: { node(): Node | undefined; maxPods: number; policies: ResizePolicies },
): RefusedResize | undefined {
  const never = (cause: string, message: string): RefusedResize => ({ reason: 'Infeasible', message, cause });
  if (changesSwap(wanted, granted, policies))
    return never('swap_limitation', 'In-place resize of containers with swap is not supported.');
  if (qosClass(wanted) === 'Guaranteed') {
    const changes = (name: 'cpu' | 'memory') => changedRequests(wanted, granted).includes(name);
    if (policies.cpuManager === 'static' && changes('cpu')) {
      const message = 'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"';
      return never('guaranteed_pod_cpu_manager_static_policy', message);
    }
    if (policies.memoryManager === 'Static' && changes('memory')) {
      const message = 'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"';
      return never('guaranteed_pod_memory_manager_static_policy', message);
    }
  }
  const seen = node();
  if (!seen) return undefined;
  const beyond = beyondNode(wanted, seen);
  if (beyond) return never('insufficient_node_allocatable', beyond);
  const misfit = resourceMisfits(wanted, others, seen, maxPods).find(({ resource }) => resource !== 'pods');
  return misfit && { reason: 'Deferred', message: describeMisfit(misfit).message, cause: '' };
}

/** What the whole node could not give. The API server refuses such resizes, unless it does not know the node so well. */
function beyondNode(wanted: Pod, node: Node): string | undefined {
  const requests = podRequests(wanted);
  for (const name of ['cpu', 'memory'] as const) {
    const asked = requests.get(name) ?? 0;
    const allocatable = node.status?.allocatable?.[name];
    if (allocatable === undefined) continue;
    const most = quantityMilli(allocatable);
    if (asked <= most) continue;
    const unit = name === 'cpu' ? 1 : 1000;
    return `Node didn't have enough capacity: ${name}, requested: ${Math.ceil(asked / unit)}, capacity: ${Math.floor(most / unit)}`;
  }
  return undefined;
}

/** A container that swaps would have to be given another share of swap, which nobody does to a running one. */
function changesSwap(wanted: Pod, granted: Pod, { defaults }: ResizePolicies): boolean {
  const before = new Map(resizableContainers(granted).map((one) => [one.name, one]));
  return resizableContainers(wanted).some((container) => {
    const old = before.get(container.name);
    if (!old || container.resources?.requests?.['memory'] === old.resources?.requests?.['memory']) return false;
    const restarts = old.resizePolicy?.some(
      (one) => one.resourceName === 'memory' && one.restartPolicy === 'RestartContainer',
    );
    return !restarts && (maySwap(wanted, container, defaults) || maySwap(granted, old, defaults));
  });
}

function changedRequests(wanted: Pod, granted: Pod): ('cpu' | 'memory')[] {
  const before = new Map(resizableContainers(granted).map((one) => [one.name, one.resources]));
  const own = ({ requests }: { requests?: Record<string, string> } = {}) => ({ ...(requests ? { requests } : {}) });
  return resizableContainers(wanted).flatMap(({ name, resources }) =>
    differingResources(own(resources), own(before.get(name))),
  );
}

import type { Container, Pod } from '../../api/index.ts';
import type { PodFailure } from '../pods/pod-record.ts';
import type { Hints, Nodes } from './topology-hints.ts';

/**
 * Hands out one kind of resource to the containers of pods: processors, memory, devices. Asked by ResourceAllocation,
 * one pod at a time.
 */
export interface ResourceProvider {
  readonly name: string;
  /** Where what the container asks for could be had (or is, if it has it already). */
  hints(pod: Pod, container: Container): Hints;
  /** The same for all containers of the pod together. */
  podHints(pod: Pod): Hints;
  /**
   * Sets aside what the container asks for, on these NUMA nodes if they are said and it can be. What it has already
   * stays. @throws AllocationError, or an Error that becomes UnexpectedAdmissionError
   */
  allocate(pod: Pod, container: Container, nodes: Nodes | undefined, preferred: boolean): Promise<void> | void;
  /** The pod has ended: all that it had is free. */
  release(podUid: string): Promise<void> | void;
}

/** A refusal with a reason of its own. */
export class AllocationError extends Error {
  readonly failure: PodFailure;
  constructor(reason: string, message: string) {
    super(message);
    this.failure = { reason, message };
  }
}

/** The containers that ask for resources, in the order in which they get them. */
export function containersOf(pod: Pod): Container[] {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
}

/** Whether an init container that ends before the others begin: what it has is free for them. */
export function endsFirst(pod: Pod, container: Container): boolean {
  return (pod.spec.initContainers ?? []).some(
    ({ name, restartPolicy }) => name === container.name && restartPolicy !== 'Always',
  );
}

/** Whether the pod says for itself what its containers may have together: the managers leave those alone. */
export function hasPodResources(pod: Pod): boolean {
  const { requests, limits } = pod.spec.resources ?? {};
  return Object.keys({ ...requests, ...limits }).length > 0;
}

/** The most that a pod needs at any time, from what each of its containers needs. */
export function neededTogether(pod: Pod, of: (container: Container) => number): number {
  let sidecars = 0;
  let most = 0;
  for (const container of pod.spec.initContainers ?? []) {
    if (container.restartPolicy === 'Always') sidecars += of(container);
    else most = Math.max(most, sidecars + of(container));
  }
  return Math.max(most, sidecars + pod.spec.containers.reduce((sum, container) => sum + of(container), 0));
}

import type { Container, Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { AdmitHandler } from '../admission/admission.ts';
import { describeError } from '../errors.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { PodFailure } from '../pods/pod-record.ts';
import type { NumaNode } from './machine-topology.ts';
import { AllocationError, containersOf, type ResourceProvider } from './resource-provider.ts';
import { type Affinity, mergeHints, type TopologyPolicy } from './topology-hints.ts';

/** How resources are handed out together. */
export interface ResourceAllocationOptions {
  providers: readonly ResourceProvider[];
  policy: TopologyPolicy;
  /** Whether each container, or the pod as a whole, is to be in one place. */
  scope: 'container' | 'pod';
  nodes: readonly NumaNode[];
  preferClosest: boolean;
  metrics: KubeletMetrics;
  clock: Clock;
  log: Logger;
  /** Told when something was handed out or came back. */
  onChange?(): void;
}

/** The reason of a refusal for want of a place where all resources are together. */
const affinityFailure: PodFailure = {
  reason: 'TopologyAffinityError',
  message: 'Resources cannot be allocated with Topology locality',
};

/** The topology manager: asks what hands out resources where they could be had, decides, and has them handed out. */
export class ResourceAllocation implements AdmitHandler {
  readonly name = 'resource allocation';
  readonly #options: ResourceAllocationOptions;

  constructor(options: ResourceAllocationOptions) {
    this.#options = options;
  }

  async admit(pod: Pod): Promise<PodFailure | undefined> {
    const { metrics, clock } = this.#options;
    const startedAt = clock.monotonic();
    metrics.count('kubelet_topology_manager_admission_requests_total');
    const failure = await this.#admit(pod);
    if (failure) metrics.count('kubelet_topology_manager_admission_errors_total');
    metrics.observe('kubelet_topology_manager_admission_duration_ms', clock.monotonic() - startedAt);
    return failure;
  }

  async #admit(pod: Pod): Promise<PodFailure | undefined> {
    const { policy, scope } = this.#options;
    const whole = policy !== 'none' && scope === 'pod' ? this.#merge(pod) : undefined;
    if (whole && !whole.admitted) return affinityFailure;
    for (const container of containersOf(pod)) {
      const affinity = whole ?? this.#merge(pod, container);
      if (affinity && !affinity.admitted) return affinityFailure;
      const failure = await this.#allocate(pod, container, affinity);
      if (failure) return failure;
    }
    this.#options.onChange?.();
    return undefined;
  }

  /** What the pod has is in the providers' files. */
  adopt(): void {}

  async release(podUid: string): Promise<void> {
    for (const provider of this.#options.providers) {
      try {
        await provider.release(podUid);
      } catch (error) {
        // It is free all the same; the file is written anew with the next change.
        this.#options.log.warn('cannot write down what a pod gave back', { podUid, resource: provider.name, error });
      }
    }
    this.#options.onChange?.();
  }

  async #allocate(pod: Pod, container: Container, affinity: Affinity | undefined): Promise<PodFailure | undefined> {
    try {
      for (const provider of this.#options.providers)
        await provider.allocate(pod, container, affinity?.nodes, affinity?.preferred ?? false);
      return undefined;
    } catch (error) {
      if (error instanceof AllocationError) return error.failure;
      return {
        reason: 'UnexpectedAdmissionError',
        message: `Allocate failed due to ${describeError(error)}, which is unexpected`,
      };
    }
  }

  #merge(pod: Pod, container?: Container): Affinity | undefined {
    const { providers, policy, nodes, preferClosest } = this.#options;
    if (policy === 'none') return undefined;
    const hints = providers.map((provider) => (container ? provider.hints(pod, container) : provider.podHints(pod)));
    return mergeHints(policy, nodes, hints, { preferClosest });
  }
}

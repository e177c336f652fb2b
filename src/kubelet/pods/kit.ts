import type { ConfigMap, Pod, RuntimeClass, Secret, Service } from '../../api/index.ts';
import type { Backoff, Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import type { ImagePuller } from '../images/image-puller.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { MemoryFacts } from '../resources/machine.ts';
import type { Resizes } from '../resources/resizes.ts';
import type { UserNamespaces } from '../security/user-namespaces.ts';
import type { ContainerGrants } from './container-grant.ts';
import type { PodEvents } from './pod-events.ts';
import type { PodRecord } from './pod-record.ts';
import type { NodeReporter, PodCgroups, PodVolumes } from './ports.ts';
import type { RuntimeCache } from './runtime-cache.ts';
import type { RuntimeClient } from './runtime-client.ts';
import type { RuntimeContainer } from './runtime-state.ts';
import type { Timelines } from './timeline.ts';

/** Objects that pods refer to. Without an API server everything is absent. */
export interface ObjectReader {
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  runtimeClass(name: string): Promise<RuntimeClass | undefined>;
  /** Every Service, once the list is complete; a static pod gets what is known. */
  services(pod: Pod): Promise<Service[]>;
}

/** What probes have found, by container. */
export interface ProbeResults {
  startup(container: RuntimeContainer): 'success' | 'failure' | 'pending' | 'none';
  liveness(container: RuntimeContainer): 'success' | 'failure' | 'pending' | 'none';
  readiness(container: RuntimeContainer): 'success' | 'failure' | 'pending' | 'none';
  /** Starts, keeps or ends the probes of a pod after something has changed. */
  follow(record: PodRecord): void;
  /** Ends the probes of a pod. */
  forget(podUid: string): void;
}

/** What the steps of a pod's life work with. */
export interface PodKit {
  settings: KubeletSettings;
  client: RuntimeClient;
  cache: RuntimeCache;
  volumes: PodVolumes;
  cgroups: PodCgroups;
  node: NodeReporter;
  users: UserNamespaces;
  images: ImagePuller;
  /** Processors, memory nodes and devices that containers were given. */
  grants: ContainerGrants;
  objects: ObjectReader;
  probes: ProbeResults;
  events: PodEvents;
  timelines: Timelines;
  metrics: KubeletMetrics;
  /** Memory and swap of the machine, and what the kernel can limit of them. */
  memory: MemoryFacts;
  /** What pods were granted and have. */
  resizes: Resizes;
  /** Delays after failures of our own doing: sandbox, volumes, creation of containers. */
  retryBackoff: Backoff;
  /** A container has been started: whoever watches for its end should know. */
  containerStarted(containerId: string, sandboxId: string): void;
  /** Computes the pod's status anew and has it written. */
  publish(record: PodRecord): void;
  log: Logger;
  clock: Clock;
}

/** The kind of delay that a failure of a step causes. */
export function noteFailure(kit: PodKit, record: PodRecord, what: string, delayMs?: number): void {
  const ms = delayMs ?? kit.retryBackoff.next(`${record.pod.metadata.uid}/${what}`);
  record.retryAt.set(what, kit.clock.monotonic() + ms);
}

/** A step has succeeded: nothing delays its next run. */
export function noteSuccess(kit: PodKit, record: PodRecord, what: string): void {
  kit.retryBackoff.reset(`${record.pod.metadata.uid}/${what}`);
  record.retryAt.delete(what);
}

/** Milliseconds until a failed step may be tried again. */
export function retryInMs(kit: PodKit, record: PodRecord, what: string): number {
  return Math.max(0, (record.retryAt.get(what) ?? 0) - kit.clock.monotonic());
}

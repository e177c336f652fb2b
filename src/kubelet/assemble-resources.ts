import type { EventRecorder } from '../client/index.ts';
import type { AdmitHandler } from './admission/admission.ts';
import { makeAdmission } from './admission/make-admission.ts';
import { EvictionManager, type EvictionOptions } from './eviction/eviction-manager.ts';
import type { Companion, Ground } from './ground.ts';
import { measureCgroups } from './metrics/measure-calls.ts';
import type { ContainerGrants } from './pods/container-grant.ts';
import type { PodEvents } from './pods/pod-events.ts';
import type { PodManager } from './pods/pod-manager.ts';
import type { NodeReporter } from './pods/ports.ts';
import {
  checkMemoryFacts,
  type MachineCapacity,
  makeCgroups,
  mostPods,
  readMemoryFacts,
  startEnforcement,
} from './resources/index.ts';
import { Resizes } from './resources/resizes.ts';
import type { Statistics } from './statistics/index.ts';

/** What else the parts about resources need. */
export interface ResourceGround {
  capacity: MachineCapacity;
  recorder: EventRecorder | undefined;
  node: NodeReporter;
  events: PodEvents;
  grants: ContainerGrants;
  /** The heart, which is made from these parts. */
  manager(): PodManager;
  sources(): { readonly isReady: boolean };
  /** Those that set processors, memory and devices aside for pods. */
  allocation?: readonly AdmitHandler[];
  statistics: Statistics;
  /** Removes what no pod uses. */
  garbage(): { images: { deleteUnused(): Promise<void> }; containers: { deleteAllUnused(): Promise<void> } };
  /** Those that are asked last about a pod: a node that is being shut down. */
  last?: readonly AdmitHandler[];
}

/** Puts the parts together that decide what pods may use: admission, cgroups, what is kept from pods. */
export function makeResources(ground: Ground, parts: ResourceGround) {
  const { capacity, recorder, node, events, grants, manager, sources, allocation, last } = parts;
  const { settings, metrics, signal, log, clock } = ground;
  const cgroups = measureCgroups(
    makeCgroups(ground, capacity, (uid) => grants.hasExclusiveCpus(uid)),
    metrics,
    clock,
  );
  const nodeEvent = (type: 'Normal' | 'Warning', reason: string, message: string) =>
    recorder?.event({ kind: 'Node', name: settings.nodeName, uid: settings.nodeName }, type, reason, message);
  const enforcement: Companion = {
    start: () => startEnforcement(ground, cgroups, nodeEvent, signal),
    stop: () => {},
  };
  const eviction = makeEviction(ground, parts, nodeEvent);
  const maxPods = mostPods(settings.configuration, capacity);
  const admission = makeAdmission({
    settings,
    maxPods,
    first: [eviction.admission],
    node: () => node.node(),
    preempt: (pod, victims, resource) => manager().preempt(pod, victims, resource),
    ...(allocation ? { allocation } : {}),
    ...(last ? { last } : {}),
  });
  const { configuration } = settings;
  const memory = readMemoryFacts(configuration);
  checkMemoryFacts(configuration, memory);
  const resizes = new Resizes({
    ...{ rootDirectory: settings.rootDirectory, node: () => node.node(), maxPods },
    policies: {
      cpuManager: configuration.cpuManagerPolicy,
      memoryManager: configuration.memoryManagerPolicy,
      defaults: { ...memory, cpuQuota: configuration.cpuCFSQuota, cpuQuotaPeriodUs: settings.cpuQuotaPeriodUs },
    },
    records: () => manager().records(),
    ready: () => sources().isReady,
    changed: (uid) => manager().resized(uid),
    ...{ events, metrics, log, clock },
  });
  const resizing: Companion = { start: () => {}, stop: () => resizes.stop() };
  return { cgroups, admission, memory, resizes, eviction, companions: [enforcement, resizing, eviction] };
}

function makeEviction(
  { settings, client, metrics, log, clock }: Ground,
  { statistics, garbage, manager, sources, node, events }: ResourceGround,
  nodeEvent: EvictionOptions['nodeEvent'],
): EvictionManager {
  return new EvictionManager({
    ...{ settings, client, statistics, nodeEvent, events, metrics, log, clock },
    records: () => manager().records(),
    ready: () => sources().isReady,
    end: (...pod) => manager().end(...pod),
    reclaim: {
      containers: () => garbage().containers.deleteAllUnused(),
      images: () => garbage().images.deleteUnused(),
    },
    changed: () => node.changed(),
  });
}

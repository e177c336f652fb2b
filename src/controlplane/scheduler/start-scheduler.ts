import {
  type CSIDriver,
  type CSINode,
  type CSIStorageCapacity,
  type Namespace,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  resources,
  type StorageClass,
} from '../../api/index.ts';
import type { Clock, Component } from '../../async/index.ts';
import { type ApiClient, createEventRecorder } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { Informers } from '../controllers/framework/informers.ts';
import { Scheduler } from './scheduler.ts';
import type { StorageObjects } from './storage-objects.ts';
import { VolumeBinding } from './volume-binding.ts';
import { VolumeState } from './volume-state.ts';

/** What the scheduler is given. */
export interface SchedulerConfig {
  client: ApiClient;
  /** Pods with this schedulerName are ours. Default `default-scheduler`. */
  schedulerName?: string;
  /** Bindings under way at once. Default 64. */
  concurrency?: number;
  /** Watches to share with other components of this process. Default: its own. */
  informers?: Informers;
}

/** Starts the scheduler: pods without a node get one within milliseconds. */
export function startScheduler(config: SchedulerConfig, context: { log: Logger; clock: Clock }): Component {
  const { client, schedulerName = 'default-scheduler', concurrency = 64 } = config;
  const informers = config.informers ?? new Informers(client, context);
  const pods = informers.store<Pod>(resources.pods);
  const nodes = informers.store<Node>(resources.nodes);
  const namespaces = informers.store<Namespace>(resources.namespaces);
  const recorder = createEventRecorder(client, {
    component: schedulerName,
    log: context.log,
    clock: context.clock,
    burst: 50,
  });
  const ends: (() => void)[] = [];
  // Most clusters start without a pod that has a claim: what storage is made of is watched from the first such pod on.
  const openStorage = async () => {
    const storage = storageStores(informers);
    const stores = Object.values(storage);
    ends.push(...stores.map((store) => store.subscribe(() => scheduler.onStorage())));
    await Promise.all(stores.map((store) => store.informer.synced));
    const binding = new VolumeBinding({ client, claims: storage.claims, clock: context.clock });
    return { binding, state: new VolumeState(storage, () => scheduler.cluster.nodes.values()) };
  };
  const scheduler: Scheduler = new Scheduler({
    ...{ client, schedulerName, concurrency, recorder, openStorage },
    ...context,
  });
  scheduler.cluster.namespaceLabels = (name) => namespaces.get(name)?.metadata.labels;
  ends.push(
    pods.subscribe((_key, now, before) => scheduler.onPod(now, before)),
    nodes.subscribe((key, now, before) => scheduler.onNode(key, now, before)),
  );
  const ready = (async () => {
    await Promise.all([pods, nodes, namespaces].map((store) => store.informer.synced));
    // A shared cache may have been filled before we subscribed.
    for (const node of nodes.list()) scheduler.onNode(node.metadata.name, node, undefined);
    for (const pod of pods.list()) scheduler.onPod(pod, undefined);
    scheduler.start();
  })();
  return {
    ready,
    stop: async () => {
      for (const end of ends) end();
      await scheduler.stop();
      if (!config.informers) informers.stop();
    },
  };
}

/** What the scheduler watches of storage. */
function storageStores(informers: Informers) {
  return {
    claims: informers.store<PersistentVolumeClaim>(resources.persistentvolumeclaims),
    volumes: informers.store<PersistentVolume>(resources.persistentvolumes),
    classes: informers.store<StorageClass>(resources.storageclasses),
    csiNodes: informers.store<CSINode>(resources.csinodes),
    csiDrivers: informers.store<CSIDriver>(resources.csidrivers),
    csiCapacities: informers.store<CSIStorageCapacity>(resources.csistoragecapacities),
  } satisfies Record<keyof StorageObjects, unknown>;
}

import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  resources,
  type StorageClass,
} from '../../../api/index.ts';
import { claimKeyOf, claimKeysOf, classNameOf } from '../../volumes/facts.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import type { BinderParts } from './parts.ts';
import { syncClaim } from './sync-claim.ts';
import { syncVolume } from './sync-volume.ts';

/** A pending claim is looked at again after this long: its event is repeated, and what was missed is found. */
const resyncMs = 60_000;

/** Binds PersistentVolumeClaims and PersistentVolumes to each other. */
export function startPersistentVolumeController(context: ControllerContext): Controller {
  const { informers, clock, client } = context;
  const claims = informers.store<PersistentVolumeClaim>(resources.persistentvolumeclaims);
  const volumes = informers.store<PersistentVolume>(resources.persistentvolumes);
  const classes = informers.store<StorageClass>(resources.storageclasses);
  const pods = informers.store<Pod>(resources.pods);
  const stores = [claims, volumes, classes, pods];
  const parts: BinderParts = {
    ...{ claims, volumes, classes, pods, clock },
    events: context.events('persistentvolume-controller'),
    askClaim: (key) => claimQueue.add(key),
    askVolume: (name) => volumeQueue.add(name),
  };
  // One claim at a time: two of them must not choose the same volume.
  const claimQueue = createControllerQueue(context, {
    ...{ name: 'persistentvolumeclaim', stores, concurrency: 1 },
    handle: async (key) => {
      const claim = claims.get(key);
      if (!claim) return;
      await syncClaim(parts, claim);
      if (claims.get(key)?.status?.phase !== 'Bound') claimQueue.addAfter(key, resyncMs);
    },
  });
  const volumeQueue = createControllerQueue(context, {
    ...{ name: 'persistentvolume', stores },
    handle: async (name) => {
      const volume = volumes.get(name);
      if (volume) await syncVolume(parts, client, volume);
    },
  });
  const ends = [
    claims.subscribe((key, now, before) => {
      if (now) claimQueue.add(key);
      const name = (now ?? before)?.spec?.volumeName;
      if (name) volumeQueue.add(name);
      else if (!now)
        for (const volume of volumes.list()) if (claimKeyOf(volume) === key) volumeQueue.add(volume.metadata.name);
    }),
    volumes.subscribe((name, now, before) => {
      if (now) volumeQueue.add(name);
      const key = claimKeyOf(now ?? before!);
      if (key) claimQueue.add(key);
    }),
    classes.subscribe((name) => {
      for (const claim of claims.list())
        if (['', name].includes(classNameOf(claim)) && claim.status?.phase !== 'Bound')
          claimQueue.add(`${claim.metadata.namespace}/${claim.metadata.name}`);
    }),
    // Events of a claim that waits name the pods that wait with it.
    pods.subscribe((_key, now, before) => {
      if (!now || before || now.spec.nodeName) return;
      for (const key of claimKeysOf(now)) if (claims.get(key)?.status?.phase !== 'Bound') claimQueue.add(key);
    }),
  ];
  return controllerOfParts([claimQueue, volumeQueue], ends);
}

import {
  type ApiObject,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  resources,
} from '../../../api/index.ts';
import { claimKeysOf, finalizers } from '../../volumes/facts.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { isPodFinished } from '../framework/pods.ts';
import type { Store } from '../framework/store.ts';

/** Keeps claims that pods use, and volumes that are bound to claims, from going away: a finalizer that leaves last. */
export function startVolumeProtectionController(context: ControllerContext): Controller {
  const claims = context.informers.store<PersistentVolumeClaim>(resources.persistentvolumeclaims);
  const volumes = context.informers.store<PersistentVolume>(resources.persistentvolumes);
  const pods = context.informers.store<Pod>(resources.pods);
  const claimQueue = createControllerQueue(context, {
    ...{ name: 'pvc-protection', stores: [claims, pods] },
    handle: async (key) => {
      const claim = claims.get(key);
      if (claim) await protect(claims, claim, finalizers.claim, () => isClaimUsed(pods, key));
    },
  });
  const volumeQueue = createControllerQueue(context, {
    ...{ name: 'pv-protection', stores: [volumes] },
    handle: async (name) => {
      const volume = volumes.get(name);
      if (volume) await protect(volumes, volume, finalizers.volume, () => volume.status?.phase === 'Bound');
    },
  });
  const ends = [
    claims.subscribe((key, now) => {
      if (now) claimQueue.add(key);
    }),
    volumes.subscribe((name, now) => {
      if (now) volumeQueue.add(name);
    }),
    pods.subscribe((_key, now, before) => {
      if (now && !isPodFinished(now)) return;
      for (const key of claimKeysOf((now ?? before)!))
        if (claims.get(key)?.metadata.deletionTimestamp) claimQueue.add(key);
    }),
  ];
  return controllerOfParts([claimQueue, volumeQueue], ends);
}

async function protect<T extends ApiObject>(
  store: Store<T>,
  object: T,
  finalizer: string,
  isUsed: () => boolean,
): Promise<void> {
  const { finalizers: present = [], deletionTimestamp, resourceVersion } = object.metadata;
  const has = present.includes(finalizer);
  if (!deletionTimestamp) {
    // Admission puts it on; objects from before that get it here.
    if (!has)
      await store.patch(object.metadata, { metadata: { resourceVersion, finalizers: [...present, finalizer] } });
    return;
  }
  if (!has || isUsed()) return;
  const left = present.filter((one) => one !== finalizer);
  await store.patch(object.metadata, { metadata: { resourceVersion, finalizers: left } });
}

/** A pod that has no node yet, or has ended, does not hold its claims. */
function isClaimUsed(pods: Store<Pod>, key: string): boolean {
  const [namespace = ''] = key.split('/');
  return pods
    .by('namespace', namespace)
    .some((pod) => pod.spec.nodeName && !isPodFinished(pod) && claimKeysOf(pod).includes(key));
}

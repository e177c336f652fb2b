import { type PersistentVolumeClaim, type Pod, resources } from '../../../api/index.ts';
import { claimNameOf } from '../../volumes/facts.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  controllerReference,
  createControllerQueue,
} from '../framework/controller.ts';
import { isPodFinished } from '../framework/pods.ts';

/** Makes the claims of pods' ephemeral volumes; they are owned by the pod, and go with it. */
export function startEphemeralVolumeController(context: ControllerContext): Controller {
  const pods = context.informers.store<Pod>(resources.pods);
  const claims = context.informers.store<PersistentVolumeClaim>(resources.persistentvolumeclaims);
  const events = context.events('ephemeral_volume');
  const queue = createControllerQueue(context, {
    ...{ name: 'ephemeral-volume', stores: [pods, claims] },
    handle: async (key) => {
      const pod = pods.get(key);
      if (!pod || pod.metadata.deletionTimestamp || isPodFinished(pod)) return;
      for (const volume of pod.spec.volumes ?? []) {
        const template = volume.ephemeral?.volumeClaimTemplate;
        if (!template) continue;
        const name = claimNameOf(pod, volume)!;
        const { namespace = '' } = pod.metadata;
        const present = claims.get(`${namespace}/${name}`);
        if (present) {
          const owned = present.metadata.ownerReferences?.some(({ uid }) => uid === pod.metadata.uid);
          if (!owned) {
            const text = `PVC ${namespace}/${name} was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`;
            events.event(pod, 'Warning', 'FailedBinding', `ephemeral volume ${volume.name}: ${text}`);
          }
          continue;
        }
        await claims.create({
          metadata: {
            ...{ name, namespace },
            ...(template.metadata?.labels ? { labels: template.metadata.labels } : {}),
            ...(template.metadata?.annotations ? { annotations: template.metadata.annotations } : {}),
            ownerReferences: [controllerReference(pod, 'v1', 'Pod')],
          },
          spec: template.spec,
        });
      }
    },
  });
  const ends = [
    pods.subscribe((key, now) => {
      if (now && (now.spec.volumes ?? []).some(({ ephemeral }) => ephemeral)) queue.add(key);
    }),
    // A claim of the same name that was in the way has gone.
    claims.subscribe((_key, now, before) => {
      const owner = (now ?? before)?.metadata.ownerReferences?.find(({ kind }) => kind === 'Pod');
      if (!now && owner) queue.add(`${before!.metadata.namespace}/${owner.name}`);
    }),
  ];
  return controllerOfParts([queue], ends);
}

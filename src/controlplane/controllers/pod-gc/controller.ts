import { type Node, objectKey, type Pod, resources } from '../../../api/index.ts';
import { isNotFound } from '../../../client/index.ts';
import {
  apiTime,
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
  timeMs,
} from '../framework/controller.ts';
import { isPodFinished } from '../framework/pods.ts';
import type { Store } from '../framework/store.ts';

/** Limits of the pod collector. */
export interface PodGcOptions {
  /** Finished pods beyond this many are removed, the oldest first; 0 keeps all. Default 12,500. */
  terminatedThreshold?: number;
  /** A node must have been gone for this long before its pods are removed, milliseconds. Default 40,000. */
  quarantineMs?: number;
}

const terminatedKey = '#terminated';

/** Removes pods that no kubelet will remove: of nodes that are gone, and finished ones beyond a limit. */
export function startPodGcController(context: ControllerContext, options: PodGcOptions = {}): Controller {
  const { terminatedThreshold = 12_500, quarantineMs = 40_000 } = options;
  const nodes = context.informers.store<Node>(resources.nodes);
  const pods = context.informers.store<Pod>(resources.pods);
  let finished = 0;

  const remove = (pod: Pod, reason: string) => removePod(pods, pod, reason, context.clock.now());
  const collectTerminated = async (): Promise<void> => {
    const done = pods.list().filter((pod) => isPodFinished(pod) && !pod.metadata.deletionTimestamp);
    finished = done.length;
    if (terminatedThreshold === 0 || done.length <= terminatedThreshold) return;
    done.sort((a, b) => timeMs(a.metadata.creationTimestamp) - timeMs(b.metadata.creationTimestamp));
    for (const pod of done.slice(0, done.length - terminatedThreshold)) await remove(pod, '');
    finished = terminatedThreshold;
  };
  const queue = createControllerQueue(context, {
    name: 'pod-gc',
    stores: [nodes, pods],
    concurrency: 2,
    handle: async (key) => {
      if (key === terminatedKey) return collectTerminated();
      if (key.startsWith('node/')) {
        const name = key.slice(5);
        if (nodes.get(name)) return;
        for (const pod of pods.by('node', name)) await remove(pod, 'PodGC: node no longer exists');
        return;
      }
      const pod = pods.get(key);
      if (pod?.metadata.deletionTimestamp && !pod.spec.nodeName) await remove(pod, '');
    },
  });
  const onNode = nodes.subscribe((key, now) => {
    if (!now) queue.addAfter(`node/${key}`, quarantineMs);
  });
  const onPod = pods.subscribe((_key, now, before) => {
    if (!now) return;
    if (now.metadata.deletionTimestamp && !now.spec.nodeName) queue.add(objectKey(now));
    if (now.spec.nodeName && !before?.spec.nodeName && nodes.informer.isSynced && !nodes.get(now.spec.nodeName)) {
      queue.addAfter(`node/${now.spec.nodeName}`, quarantineMs);
    }
    if (isPodFinished(now) && !(before && isPodFinished(before)) && ++finished > terminatedThreshold)
      queue.add(terminatedKey);
  });
  // Pods whose node went while we were away.
  void Promise.all([nodes.informer.synced, pods.informer.synced]).then(() => {
    for (const { spec } of pods.list()) {
      if (spec.nodeName && !nodes.get(spec.nodeName)) queue.addAfter(`node/${spec.nodeName}`, quarantineMs);
    }
  });
  return controllerOfParts([queue], [onNode, onPod]);
}

/** Marks a pod as failed, if it has not ended, and deletes it without waiting for its kubelet. */
async function removePod(pods: Store<Pod>, pod: Pod, reason: string, now: number): Promise<void> {
  try {
    if (!isPodFinished(pod)) {
      const condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'DeletionByPodGC',
        message: reason,
        lastTransitionTime: apiTime(now),
      };
      const patch = { metadata: { uid: pod.metadata.uid }, status: { phase: 'Failed', conditions: [condition] } };
      await pods.patch(pod.metadata, patch, { type: 'strategic', subresource: 'status' });
    }
    await pods.delete(pod, { gracePeriodSeconds: 0 });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

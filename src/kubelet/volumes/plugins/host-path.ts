import { checkHostPath } from '../host-path.ts';
import type { VolumePlugin } from '../plugin.ts';
import { tearDownUnknown } from '../remove-pod-directory.ts';

/** Paths of the node itself, in a pod or as a persistent volume. Nothing is made below the pod's directory. */
export function hostPathPlugin(): VolumePlugin {
  return {
    name: 'kubernetes.io/host-path',
    supports: ({ volume, persistentVolume }) => Boolean(volume.hostPath ?? persistentVolume?.spec?.hostPath),
    setUp: ({ volume: { volume, persistentVolume } }) =>
      checkHostPath((volume.hostPath ?? persistentVolume?.spec?.hostPath)!),
    tearDown: tearDownUnknown,
    usage: 'none',
  };
}

import { existsSync } from 'node:fs';
import type { Volume } from '../../api/index.ts';

let known: boolean | undefined;

/** Whether SELinux is on. */
export function isSelinuxOn(): boolean {
  known ??= existsSync('/sys/fs/selinux/enforce');
  return known;
}

/**
 * Whether the runtime has to give a volume's files the container's label, so that it may use them. What the kubelet has not
 * made for the pod, or nobody may change, keeps the labels that it has.
 */
export function needsLabel(volume: Volume, readOnly: boolean, enabled = isSelinuxOn()): boolean {
  if (!enabled || volume.hostPath || volume.nfs || volume.image) return false;
  return !(readOnly && (volume.persistentVolumeClaim || volume.ephemeral || volume.csi));
}

import type { PersistentVolume, PersistentVolumeClaim, Pod, StorageClass, Volume } from '../../api/index.ts';

/** Annotations by which claims, volumes, their controller, the scheduler and provisioners talk to one another. */
export const annotations = {
  /** On a claim: the controller has finished binding it. */
  bindCompleted: 'pv.kubernetes.io/bind-completed',
  /** On either: the controller, and not a user, has made the bond. */
  boundByController: 'pv.kubernetes.io/bound-by-controller',
  /** On a volume: who made it. */
  provisionedBy: 'pv.kubernetes.io/provisioned-by',
  /** On a claim: who is asked to make its volume. */
  provisioner: 'volume.kubernetes.io/storage-provisioner',
  olderProvisioner: 'volume.beta.kubernetes.io/storage-provisioner',
  /** On a claim: the node for which its volume is to be made. */
  selectedNode: 'volume.kubernetes.io/selected-node',
  defaultClass: 'storageclass.kubernetes.io/is-default-class',
  olderClass: 'volume.beta.kubernetes.io/storage-class',
} as const;

/** Finalizers that keep what is in use. */
export const finalizers = {
  claim: 'kubernetes.io/pvc-protection',
  volume: 'kubernetes.io/pv-protection',
} as const;

/** The provisioner of classes whose volumes are made by hand. */
export const noProvisioner = 'kubernetes.io/no-provisioner';

/** The class that a claim or a volume names; '' for none. */
export function classNameOf(object: PersistentVolumeClaim | PersistentVolume): string {
  return object.metadata.annotations?.[annotations.olderClass] ?? object.spec?.storageClassName ?? '';
}

/** Whether volumes of the class are bound only when a pod needs them. */
export function waitsForConsumer(storageClass: StorageClass | undefined): boolean {
  return storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
}

/** Whether the controller has finished binding the claim. */
export function isBindCompleted({ metadata }: PersistentVolumeClaim): boolean {
  return metadata.annotations?.[annotations.bindCompleted] !== undefined;
}

/** Whether the claim is fully bound, as far as the scheduler cares. */
export function isClaimBound(claim: PersistentVolumeClaim): boolean {
  return Boolean(claim.spec?.volumeName) && isBindCompleted(claim);
}

/** The name of the claim behind a pod's volume; an ephemeral volume's claim is made for the pod. */
export function claimNameOf(pod: Pod, volume: Volume): string | undefined {
  if (volume.persistentVolumeClaim) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral ? `${pod.metadata.name}-${volume.name}` : undefined;
}

/** The claims that a pod uses, `namespace/name`. */
export function claimKeysOf(pod: Pod): string[] {
  return (pod.spec.volumes ?? []).flatMap((volume) => {
    const name = claimNameOf(pod, volume);
    return name === undefined ? [] : [`${pod.metadata.namespace}/${name}`];
  });
}

/** `namespace/name` of the claim that a volume is bound to or kept for. */
export function claimKeyOf({ spec }: PersistentVolume): string | undefined {
  return spec?.claimRef ? `${spec.claimRef.namespace}/${spec.claimRef.name}` : undefined;
}

/** Whether the volume is kept for this very claim (or for one of its name, before that has a uid). */
export function isKeptFor({ spec }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const reference = spec?.claimRef;
  if (reference?.name !== metadata.name || reference.namespace !== metadata.namespace) return false;
  return !reference.uid || reference.uid === metadata.uid;
}

import type { Draft, PersistentVolume, PersistentVolumeClaim, StorageClass } from '../../../api/index.ts';
import { annotations } from '../../volumes/facts.ts';

/** The name of the provisioner in classes. */
export const localPathProvisioner = 'deckhand.dev/local-path';

/** Keeps a volume until its directory has been dealt with. */
export const releaseFinalizer = 'external-provisioner.volume.kubernetes.io/finalizer';

/** The class `local-path`: directories of one node, chosen when a pod needs them. */
export function storageClassOf(
  nodeName: string,
  { isDefault }: { isDefault: boolean },
): Draft<StorageClass> & { metadata: { name: string } } {
  return {
    metadata: {
      name: 'local-path',
      ...(isDefault ? { annotations: { [annotations.defaultClass]: 'true' } } : {}),
    },
    provisioner: localPathProvisioner,
    reclaimPolicy: 'Delete',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowVolumeExpansion: true,
    allowedTopologies: [{ matchLabelExpressions: [{ key: 'kubernetes.io/hostname', values: [nodeName] }] }],
  };
}

/** The volume made for a claim: a directory that only its node reaches. */
export function localVolume({
  name,
  claim,
  storageClass,
  directory,
  nodeName,
}: {
  name: string;
  claim: PersistentVolumeClaim;
  storageClass: StorageClass;
  directory: string;
  nodeName: string;
}): Draft<PersistentVolume> {
  const { namespace, name: claimName, uid, resourceVersion } = claim.metadata;
  return {
    metadata: {
      name,
      annotations: { [annotations.provisionedBy]: localPathProvisioner },
      finalizers: [releaseFinalizer],
    },
    spec: {
      capacity: { storage: claim.spec?.resources?.requests?.['storage'] ?? '0' },
      accessModes: claim.spec?.accessModes ?? [],
      claimRef: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        namespace: namespace!,
        name: claimName,
        uid,
        resourceVersion: resourceVersion!,
      },
      local: { path: directory },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [nodeName] }] },
          ],
        },
      },
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? 'Delete',
      storageClassName: storageClass.metadata.name,
      volumeMode: 'Filesystem',
      ...(storageClass.mountOptions ? { mountOptions: storageClass.mountOptions } : {}),
    },
  };
}

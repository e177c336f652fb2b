import { quantityValue } from '../../api/index.ts';
import type { AdmissionPlugin } from '../apiserver/extension-points.ts';
import { finalizers } from '../volumes/facts.ts';
import { refuse } from './refuse.ts';

const finalizerOf: Record<string, string> = {
  persistentvolumeclaims: finalizers.claim,
  persistentvolumes: finalizers.volume,
};

/** Claims and volumes stay as long as they are in use. */
export const storageObjectInUseProtection: AdmissionPlugin = {
  name: 'StorageObjectInUseProtection',
  mutate: ({ operation, resource, subresource, object }) => {
    const finalizer = finalizerOf[resource.plural];
    if (operation !== 'CREATE' || subresource !== '' || resource.group !== '' || !finalizer) return;
    const present: string[] = (object.metadata.finalizers ??= []);
    if (!present.includes(finalizer)) present.push(finalizer);
  },
};

/** A claim grows only where its class says that its volumes can. */
export const claimResize: AdmissionPlugin = {
  name: 'PersistentVolumeClaimResize',
  validate: (request) => {
    const { operation, resource, subresource, object, oldObject, registry } = request;
    if (operation !== 'UPDATE' || resource.plural !== 'persistentvolumeclaims' || subresource !== '') return;
    const sizeOf = ({ spec }: any): number => quantityValue(spec?.resources?.requests?.storage ?? 0);
    if (sizeOf(object) <= sizeOf(oldObject)) return;
    const storageClass: any = registry.get('storage.k8s.io/storageclasses', '', object.spec.storageClassName ?? '');
    if (storageClass?.allowVolumeExpansion) return;
    throw refuse(
      request,
      'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
    );
  },
};

import {
  type ApiObject,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  type Resource,
  resources,
  type Volume,
} from '../../api/index.ts';
import { type ApiClient, isNotFound } from '../../client/index.ts';
import type { ResolvedVolume, VolumeMode } from './plugin.ts';
import { usesOf } from './used-volumes.ts';
import { VolumeError } from './volume-error.ts';

/** The name of the claim that a volume of the pod uses; undefined when it uses none. */
export function claimNameOf(pod: Pod, volume: Volume): string | undefined {
  if (volume.persistentVolumeClaim) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral ? `${pod.metadata.name}-${volume.name}` : undefined;
}

/**
 * Finds what stands behind a pod's volume: the claim, and the persistent volume that it is bound to.
 * @throws VolumeError when it cannot be used (yet)
 */
export async function resolveVolume(client: ApiClient | undefined, pod: Pod, volume: Volume): Promise<ResolvedVolume> {
  const claimName = claimNameOf(pod, volume);
  if (claimName === undefined) {
    const resolved = { volume, directoryName: volume.name, mode: 'Filesystem', mountOptions: [] } as const;
    checkMode(pod, volume.name, 'Filesystem');
    return { ...resolved, readOnly: isInlineReadOnly(volume) };
  }
  const namespace = pod.metadata.namespace ?? '';
  try {
    const claim = await readClaim(client, pod, volume, namespace, claimName);
    const persistentVolume = await readPersistentVolume(client, claim);
    const mode: VolumeMode = persistentVolume.spec?.volumeMode === 'Block' ? 'Block' : 'Filesystem';
    checkMode(pod, volume.name, mode);
    return {
      volume,
      directoryName: persistentVolume.metadata.name,
      claim,
      persistentVolume,
      mode,
      readOnly: (volume.persistentVolumeClaim?.readOnly ?? false) || isSourceReadOnly(persistentVolume),
      mountOptions: persistentVolume.spec?.mountOptions ?? [],
    };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof VolumeError ? cause.code : 'FAILED';
    throw new VolumeError(code, `error processing PVC ${namespace}/${claimName}: ${message}`, { cause });
  }
}

async function readClaim(
  client: ApiClient | undefined,
  pod: Pod,
  volume: Volume,
  namespace: string,
  name: string,
): Promise<PersistentVolumeClaim> {
  const claim = await read(client, resources.persistentvolumeclaims, name, namespace);
  if (!claim) throw new VolumeError('NOT_FOUND', `persistentvolumeclaim "${name}" not found`);
  if (volume.ephemeral && !isOwnedBy(claim, pod))
    throw new VolumeError(
      'FAILED',
      `PVC ${namespace}/${name} was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`,
    );
  // A pod that runs already keeps its claim: pvc-protection holds it.
  if (claim.metadata.deletionTimestamp && pod.status?.phase !== 'Running')
    throw new VolumeError('FAILED', `can't start pod because PVC ${namespace}/${name} is being deleted`);
  if (claim.status?.phase !== 'Bound' || !claim.spec?.volumeName)
    throw new VolumeError('NOT_FOUND', `PVC is not bound (phase ${claim.status?.phase || 'Pending'})`);
  return claim;
}

async function readPersistentVolume(
  client: ApiClient | undefined,
  claim: PersistentVolumeClaim,
): Promise<PersistentVolume> {
  const name = claim.spec!.volumeName!;
  const found = await read(client, resources.persistentvolumes, name);
  if (!found) throw new VolumeError('NOT_FOUND', `persistentvolume "${name}" not found`);
  const { claimRef } = found.spec ?? {};
  if (!claimRef) throw new VolumeError('NOT_FOUND', `persistentvolume "${name}" is bound to no claim`);
  if (claimRef.uid !== claim.metadata.uid)
    throw new VolumeError('FAILED', `persistentvolume "${name}" is bound to another claim (uid ${claimRef.uid})`);
  return found;
}

async function read<T extends ApiObject>(
  client: ApiClient | undefined,
  resource: Resource<T>,
  name: string,
  namespace?: string,
): Promise<T | undefined> {
  if (!client) throw new VolumeError('INVALID', 'a pod without an API server cannot use claims');
  try {
    return await client.get(resource, name, namespace === undefined ? {} : { namespace });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function isOwnedBy(claim: PersistentVolumeClaim, pod: Pod): boolean {
  return (claim.metadata.ownerReferences ?? []).some(({ uid, controller }) => controller && uid === pod.metadata.uid);
}

/** A directory cannot be had as a device, nor a device mounted. */
function checkMode(pod: Pod, name: string, mode: VolumeMode): void {
  const { mounted, device } = usesOf(pod, name);
  if (mode === 'Block' && mounted)
    throw new VolumeError('INVALID', `volume ${name} has volumeMode Block, but is specified in volumeMounts`);
  if (mode === 'Filesystem' && device)
    throw new VolumeError('INVALID', `volume ${name} has volumeMode Filesystem, but is specified in volumeDevices`);
}

function isInlineReadOnly(volume: Volume): boolean {
  return volume.nfs?.readOnly ?? volume.csi?.readOnly ?? false;
}

function isSourceReadOnly({ spec }: PersistentVolume): boolean {
  return spec?.nfs?.readOnly ?? spec?.csi?.readOnly ?? false;
}

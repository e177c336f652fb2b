import { type PersistentVolume, type PersistentVolumeClaim, resources } from '../../../api/index.ts';
import { type ApiClient, isNotFound } from '../../../client/index.ts';
import { annotations, claimKeyOf } from '../../volumes/facts.ts';
import { type BinderParts, setVolumePhase } from './parts.ts';

/** Brings one volume's phase up to date, and does what its reclaim policy says once its claim has gone. */
export async function syncVolume(parts: BinderParts, client: ApiClient, volume: PersistentVolume): Promise<void> {
  const reference = volume.spec?.claimRef;
  if (!reference?.uid) {
    if (!volume.metadata.deletionTimestamp) await setVolumePhase(parts, volume, 'Available');
    // Claims that wait may want it.
    if (reference) parts.askClaim(claimKeyOf(volume)!);
    else askWaiting(parts, volume);
    return;
  }
  const claim = await findClaim(parts, client, volume);
  if (!claim) return release(parts, volume);
  const key = claimKeyOf(volume)!;
  if (!claim.spec?.volumeName) return parts.askClaim(key);
  if (claim.spec.volumeName === volume.metadata.name) return void (await setVolumePhase(parts, volume, 'Bound'));
  // The claim has found another volume.
  const made = volume.metadata.annotations?.[annotations.provisionedBy] !== undefined;
  if (made && volume.spec?.persistentVolumeReclaimPolicy === 'Delete') return release(parts, volume);
  await unbind(parts, volume);
}

/** Pending claims of the volume's class are looked at again. */
function askWaiting({ claims, askClaim }: BinderParts, volume: PersistentVolume): void {
  for (const claim of claims.list()) {
    if (claim.spec?.volumeName && claim.spec.volumeName !== volume.metadata.name) continue;
    if (claim.status?.phase !== 'Bound') askClaim(`${claim.metadata.namespace}/${claim.metadata.name}`);
  }
}

/** The claim that the volume is bound to. The cache may be behind, and to reclaim a volume by mistake is the worst. */
async function findClaim(
  { claims }: BinderParts,
  client: ApiClient,
  volume: PersistentVolume,
): Promise<PersistentVolumeClaim | undefined> {
  const { namespace = '', name = '', uid } = volume.spec!.claimRef!;
  const cached = claims.get(`${namespace}/${name}`);
  if (cached?.metadata.uid === uid) return cached;
  if (!cached && ['Released', 'Failed'].includes(volume.status?.phase ?? '')) return undefined;
  try {
    const found = await client.get(resources.persistentvolumeclaims, name, { namespace });
    return found.metadata.uid === uid ? found : undefined;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function release(parts: BinderParts, found: PersistentVolume): Promise<void> {
  let volume = found;
  const phase = volume.status?.phase;
  if (phase !== 'Released' && phase !== 'Failed') volume = await setVolumePhase(parts, volume, 'Released');
  const policy = volume.spec?.persistentVolumeReclaimPolicy;
  if (policy === 'Retain') return;
  // Whoever made it deletes it.
  if (policy === 'Delete' && volume.metadata.annotations?.[annotations.provisionedBy] !== undefined) return;
  if (policy === 'Delete' && volume.spec?.csi) return;
  const problem =
    policy === 'Delete'
      ? {
          reason: 'VolumeFailedDelete',
          message: `error getting deleter volume plugin for volume "${volume.metadata.name}": no deletable volume plugin matched`,
        }
      : { reason: 'VolumeFailedRecycle', message: 'No recycler plugin found for the volume!' };
  await setVolumePhase(parts, volume, 'Failed', problem);
}

/** Gives up a bond that was not completed: all of it when we had chosen, else only what we had added. */
async function unbind(parts: BinderParts, volume: PersistentVolume): Promise<void> {
  const ours = volume.metadata.annotations?.[annotations.boundByController] !== undefined;
  const { [annotations.boundByController]: _ours, ...rest } = volume.metadata.annotations ?? {};
  const { claimRef, ...spec } = volume.spec ?? {};
  const { uid: _uid, resourceVersion: _version, ...kept } = claimRef ?? {};
  const written = await parts.volumes.update({
    ...volume,
    metadata: { ...volume.metadata, annotations: rest },
    spec: ours ? spec : { ...spec, claimRef: kept },
  } as PersistentVolume);
  await setVolumePhase(parts, written, 'Available');
}

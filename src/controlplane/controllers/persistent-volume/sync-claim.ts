import type { PersistentVolume, PersistentVolumeClaim } from '../../../api/index.ts';
import {
  annotations,
  claimKeysOf,
  classNameOf,
  isBindCompleted,
  isKeptFor,
  noProvisioner,
  waitsForConsumer,
} from '../../volumes/facts.ts';
import { findVolume, mismatchOf } from '../../volumes/matching.ts';
import { type BinderParts, setClaimStatus, setVolumePhase } from './parts.ts';

/** Brings one claim forward: finds it a volume, asks for one to be made, or says what has become of its volume. */
export async function syncClaim(parts: BinderParts, claim: PersistentVolumeClaim): Promise<void> {
  if (isBindCompleted(claim)) return syncBound(parts, claim);
  if (claim.spec?.volumeName) return syncNamed(parts, claim, claim.spec.volumeName);
  return syncUnbound(parts, claim);
}

/** A claim that takes any volume that fits. */
async function syncUnbound(parts: BinderParts, claim: PersistentVolumeClaim): Promise<void> {
  if (await giveDefaultClass(parts, claim)) return;
  const className = classNameOf(claim);
  const storageClass = className ? parts.classes.get(className) : undefined;
  const delayed = waitsForConsumer(storageClass) && !claim.metadata.annotations?.[annotations.selectedNode];
  // Of a class that waits for pods the scheduler chooses, because it knows the node; it keeps its choice for the claim.
  const onlyKept = waitsForConsumer(storageClass);
  const volume = findVolume(claim, parts.volumes.list(), { onlyKept });
  if (volume) return bind(parts, claim, volume);
  if (delayed) tellWaiting(parts, claim);
  else if (storageClass && storageClass.provisioner !== noProvisioner)
    await askProvisioner(parts, claim, storageClass.provisioner!);
  else if (className && !storageClass)
    parts.events.event(claim, 'Warning', 'ProvisioningFailed', `storageclass.storage.k8s.io "${className}" not found`);
  else {
    const text = className
      ? `storageclass "${className}" has no provisioner, and no persistent volume fits this claim`
      : 'no persistent volumes available for this claim and no storage class is set';
    parts.events.event(claim, 'Normal', 'FailedBinding', text);
  }
  await setClaimStatus(parts, claim, 'Pending');
}

/** A claim from before there was a default class gets it now. True when it did: the change brings the claim back. */
async function giveDefaultClass({ claims, classes }: BinderParts, claim: PersistentVolumeClaim): Promise<boolean> {
  const { spec, metadata } = claim;
  if (typeof spec?.storageClassName === 'string' || metadata.annotations?.[annotations.olderClass]) return false;
  const defaults = classes
    .list()
    .filter((one) => one.metadata.annotations?.[annotations.defaultClass] === 'true')
    .sort((a, b) => String(b.metadata.creationTimestamp).localeCompare(String(a.metadata.creationTimestamp)));
  if (!defaults[0]) return false;
  const { resourceVersion } = metadata;
  await claims.patch(metadata, {
    metadata: { resourceVersion },
    spec: { storageClassName: defaults[0].metadata.name },
  });
  return true;
}

function tellWaiting({ pods, events }: BinderParts, claim: PersistentVolumeClaim): void {
  const { namespace, name } = claim.metadata;
  const waiting = pods
    .by('namespace', namespace ?? '')
    .filter((pod) => !pod.spec.nodeName && claimKeysOf(pod).includes(`${namespace}/${name}`))
    .map((pod) => pod.metadata.name);
  if (waiting.length === 0) {
    const text = 'waiting for first consumer to be created before binding';
    events.event(claim, 'Normal', 'WaitForFirstConsumer', text);
  } else {
    const who = waiting.length === 1 ? `pod ${waiting[0]}` : `pods ${waiting.join(',')}`;
    events.event(claim, 'Normal', 'WaitForPodScheduled', `waiting for ${who} to be scheduled`);
  }
}

/** Provisioners watch for claims with their name on them. */
async function askProvisioner(parts: BinderParts, claim: PersistentVolumeClaim, provisioner: string): Promise<void> {
  const text = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
  parts.events.event(claim, 'Normal', 'ExternalProvisioning', text);
  if (claim.metadata.annotations?.[annotations.provisioner] === provisioner) return;
  const asked = { [annotations.provisioner]: provisioner, [annotations.olderProvisioner]: provisioner };
  await parts.claims.patch(claim.metadata, { metadata: { annotations: asked } });
}

/** A claim that names its volume. */
async function syncNamed(parts: BinderParts, claim: PersistentVolumeClaim, name: string): Promise<void> {
  const volume = parts.volumes.get(name);
  if (volume && (!volume.spec?.claimRef || isKeptFor(volume, claim))) {
    const mismatch = volume.spec?.claimRef?.uid ? undefined : mismatchOf(volume, claim);
    if (!mismatch) return bind(parts, claim, volume);
    const text = `Cannot bind to requested volume "${name}": ${mismatch}`;
    parts.events.event(claim, 'Warning', 'VolumeMismatch', text);
  } else if (volume) {
    const text = `volume "${name}" already bound to a different claim.`;
    parts.events.event(claim, 'Warning', 'FailedBinding', text);
  }
  await setClaimStatus(parts, claim, 'Pending');
}

/** A claim that was bound: is its volume still there, and still its own? */
async function syncBound(parts: BinderParts, claim: PersistentVolumeClaim): Promise<void> {
  const name = claim.spec?.volumeName;
  if (!name)
    return lose(
      parts,
      claim,
      'ClaimLost',
      'Bound claim has lost reference to PersistentVolume. Data on the volume is lost!',
    );
  const volume = parts.volumes.get(name);
  if (!volume)
    return lose(parts, claim, 'ClaimLost', 'Bound claim has lost its PersistentVolume. Data on the volume is lost!');
  if (!volume.spec?.claimRef || isKeptFor(volume, claim)) return bind(parts, claim, volume);
  const text = 'Two claims are bound to the same volume, this one is bound incorrectly';
  return lose(parts, claim, 'ClaimMisbound', text);
}

async function lose(parts: BinderParts, claim: PersistentVolumeClaim, reason: string, message: string): Promise<void> {
  if (claim.status?.phase === 'Lost') return;
  await setClaimStatus(parts, claim, 'Lost');
  parts.events.event(claim, 'Warning', reason, message);
}

/** Ties both ends together, the volume first; each step that has been done already is left out. */
async function bind(parts: BinderParts, claim: PersistentVolumeClaim, found: PersistentVolume): Promise<void> {
  let volume = found;
  const { namespace, name, uid, resourceVersion } = claim.metadata;
  if (volume.spec?.claimRef?.uid !== uid) {
    const kept = volume.spec?.claimRef !== undefined;
    const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid, resourceVersion };
    const metadata = {
      ...volume.metadata,
      annotations: { ...volume.metadata.annotations, ...(kept ? {} : { [annotations.boundByController]: 'yes' }) },
    };
    volume = await parts.volumes.update({
      ...volume,
      metadata,
      spec: { ...volume.spec, claimRef },
    } as PersistentVolume);
  }
  volume = await setVolumePhase(parts, volume, 'Bound');
  let bound = claim;
  if (claim.spec?.volumeName !== volume.metadata.name || !isBindCompleted(claim)) {
    const chosen = !claim.spec?.volumeName;
    const metadata = {
      ...claim.metadata,
      annotations: {
        ...claim.metadata.annotations,
        [annotations.bindCompleted]: 'yes',
        ...(chosen ? { [annotations.boundByController]: 'yes' } : {}),
      },
    };
    bound = await parts.claims.update({
      ...claim,
      metadata,
      spec: { ...claim.spec, volumeName: volume.metadata.name },
    } as PersistentVolumeClaim);
  }
  await setClaimStatus(parts, bound, 'Bound', volume);
}

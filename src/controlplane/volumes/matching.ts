import {
  matchLabelSelector,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  quantityValue,
} from '../../api/index.ts';
import { selectsNode } from '../scheduler/node-selection.ts';
import { classNameOf, isKeptFor } from './facts.ts';

const sizeOf = (amounts: Record<string, string | number> | undefined): number =>
  quantityValue(amounts?.['storage'] ?? 0);

/** Why a volume cannot serve a claim, whoever put them together; undefined when it can. */
export function mismatchOf(volume: PersistentVolume, claim: PersistentVolumeClaim): string | undefined {
  if (volume.metadata.deletionTimestamp) return `the volume is marked for deletion "${volume.metadata.name}"`;
  if (sizeOf(volume.spec?.capacity) < sizeOf(claim.spec?.resources?.requests)) return 'requested PV is too small';
  if (classNameOf(volume) !== classNameOf(claim)) return 'storageClassName does not match';
  if ((volume.spec?.volumeAttributesClassName ?? '') !== (claim.spec?.volumeAttributesClassName ?? ''))
    return 'volumeAttributesClassName does not match';
  if ((volume.spec?.volumeMode ?? 'Filesystem') !== (claim.spec?.volumeMode ?? 'Filesystem'))
    return 'incompatible volumeMode';
  const offered = volume.spec?.accessModes ?? [];
  if ((claim.spec?.accessModes ?? []).some((mode) => !offered.includes(mode))) return 'incompatible accessMode';
  return undefined;
}

/** Whether a volume can be used on a node. */
export function reachesNode({ spec }: PersistentVolume, node: Node): boolean {
  const required = spec?.nodeAffinity?.required;
  return !required || selectsNode(required, node);
}

/**
 * The volume that serves a claim best: one that is kept for it, else the smallest free one that is large enough.
 * @param options.node only volumes that this node reaches
 * @param options.taken names of volumes that are promised to others
 * @param options.onlyKept nothing but what is kept for the claim: it waits for a pod
 */
export function findVolume(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  options: { node?: Node; taken?: ReadonlySet<string>; onlyKept?: boolean } = {},
): PersistentVolume | undefined {
  const { node, taken, onlyKept } = options;
  const selects = claim.spec?.selector ? matchLabelSelector(claim.spec.selector) : undefined;
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    if (taken?.has(volume.metadata.name) || mismatchOf(volume, claim)) continue;
    const kept = isKeptFor(volume, claim);
    if (volume.spec?.claimRef && !kept) continue;
    if (node && !reachesNode(volume, node)) continue;
    if (kept) return volume;
    if (onlyKept || volume.status?.phase !== 'Available' || (selects && !selects(volume.metadata.labels))) continue;
    if (!best || sizeOf(volume.spec?.capacity) < sizeOf(best.spec?.capacity)) best = volume;
  }
  return best;
}

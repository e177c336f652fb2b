import type { OwnerReference, PersistentVolumeClaim, Pod, StatefulSet } from '../../../api/index.ts';
import { controllerReference, sameJson } from '../framework/controller.ts';
import { ordinalOf, wantedOrdinals } from './plan.ts';

/** The claims of one pod of a set, from its templates. They belong to the pod's name and outlive the pod. */
export function claimsOf(set: StatefulSet, ordinal: number) {
  return (set.spec?.volumeClaimTemplates ?? []).map((template) => {
    const ownerReferences = wantedOwners(set, ordinal, undefined, []);
    return {
      metadata: {
        name: claimName(set, template, ordinal),
        namespace: set.metadata.namespace!,
        labels: { ...template.metadata.labels, ...set.spec?.selector.matchLabels },
        ...(template.metadata.annotations ? { annotations: template.metadata.annotations } : {}),
        ...(ownerReferences.length > 0 ? { ownerReferences } : {}),
      },
      ...(template.spec ? { spec: template.spec } : {}),
    };
  });
}

/** Claims of the set whose owners are not what its persistentVolumeClaimRetentionPolicy asks for, and who is to own them. */
export function planOwners(
  set: StatefulSet,
  pods: readonly Pod[],
  claims: (name: string) => PersistentVolumeClaim | undefined,
): { claim: PersistentVolumeClaim; ownerReferences: OwnerReference[] }[] {
  return pods.flatMap((pod) => {
    const ordinal = ordinalOf(set, pod);
    if (ordinal === undefined) return [];
    return (set.spec?.volumeClaimTemplates ?? []).flatMap((template) => {
      const claim = claims(claimName(set, template, ordinal));
      if (!claim) return [];
      const present = claim.metadata.ownerReferences ?? [];
      const ownerReferences = wantedOwners(set, ordinal, pod, present);
      return sameJson(ownerReferences, present) ? [] : [{ claim, ownerReferences }];
    });
  });
}

function claimName(set: StatefulSet, template: PersistentVolumeClaim, ordinal: number): string {
  return `${template.metadata.name}-${set.metadata.name}-${ordinal}`;
}

/**
 * A claim that is to go with its set is owned by the set; one that is to go when its pod is scaled away is owned by the
 * pod, from the moment that this is on its way out. Others' references stay.
 */
function wantedOwners(
  set: StatefulSet,
  ordinal: number,
  pod: Pod | undefined,
  present: readonly OwnerReference[],
): OwnerReference[] {
  const { whenDeleted, whenScaled } = set.spec?.persistentVolumeClaimRetentionPolicy ?? {};
  const surplus = !wantedOrdinals(set).includes(ordinal);
  const toPod = whenScaled === 'Delete' && surplus && pod !== undefined;
  const toSet = whenDeleted === 'Delete' && !(whenScaled === 'Delete' && surplus);
  const keep = present.filter(
    ({ kind, name, uid }) =>
      uid !== set.metadata.uid && !(kind === 'Pod' && name === `${set.metadata.name}-${ordinal}`),
  );
  return [
    ...keep,
    ...(toSet ? [controllerReference(set, 'apps/v1', 'StatefulSet')] : []),
    ...(toPod ? [{ ...controllerReference(pod, 'v1', 'Pod'), controller: false, blockOwnerDeletion: false }] : []),
  ];
}

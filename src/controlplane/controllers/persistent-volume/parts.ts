import type { PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from '../../../api/index.ts';
import type { Clock } from '../../../async/index.ts';
import type { EventRecorder } from '../../../client/index.ts';
import { apiTime, sameJson } from '../framework/controller.ts';
import type { Store } from '../framework/store.ts';

/** What the binding of claims and volumes works with. */
export interface BinderParts {
  claims: Store<PersistentVolumeClaim>;
  volumes: Store<PersistentVolume>;
  classes: Store<StorageClass>;
  pods: Store<Pod>;
  events: EventRecorder;
  clock: Clock;
  /** Has the claim looked at soon, `namespace/name`. */
  askClaim(key: string): void;
  /** Has the volume looked at soon. */
  askVolume(name: string): void;
}

/** Writes a volume's phase, with an event where there is something to tell. */
export async function setVolumePhase(
  { volumes, events, clock }: BinderParts,
  volume: PersistentVolume,
  phase: string,
  problem?: { reason: string; message: string },
): Promise<PersistentVolume> {
  const message = problem?.message ?? '';
  if (volume.status?.phase === phase && (volume.status.message ?? '') === message) return volume;
  const changed = volume.status?.phase !== phase;
  const status = {
    ...volume.status,
    phase,
    message,
    ...(changed ? { lastPhaseTransitionTime: apiTime(clock.now()) } : {}),
  };
  const written = await volumes.update({ ...volume, status }, { subresource: 'status' });
  if (problem && changed) events.event(written, 'Warning', problem.reason, problem.message);
  return written;
}

/** Writes a claim's phase and, of a bound one, what it has got. */
export async function setClaimStatus(
  { claims }: BinderParts,
  claim: PersistentVolumeClaim,
  phase: string,
  volume?: PersistentVolume,
): Promise<PersistentVolumeClaim> {
  const { accessModes: _modes, capacity, ...rest } = claim.status ?? {};
  const status = {
    ...rest,
    phase,
    ...(volume
      ? {
          accessModes: volume.spec?.accessModes ?? [],
          // Of a bound claim whoever grows the volume on the node keeps the capacity.
          capacity: claim.status?.phase === phase && capacity ? capacity : (volume.spec?.capacity ?? {}),
          ...(volume.spec?.volumeAttributesClassName
            ? { currentVolumeAttributesClassName: volume.spec.volumeAttributesClassName }
            : {}),
        }
      : {}),
  };
  if (sameJson(status, claim.status)) return claim;
  return claims.update({ ...claim, status }, { subresource: 'status' });
}

import type { Pod, StatefulSet } from '../../../api/index.ts';
import { isPodAvailable, isPodFinished } from '../framework/pods.ts';
import { revisionHashLabel } from '../framework/revisions.ts';

/** What to do for a StatefulSet in this round. */
export type StatefulStep = { kind: 'create'; ordinal: number; revision: string } | { kind: 'delete'; pod: Pod };

/** What a plan is made from. */
export interface StatefulFacts {
  set: StatefulSet;
  pods: readonly Pod[];
  /** Hash of the revision that pods below the partition keep, and of the newest. */
  currentRevision: string;
  updateRevision: string;
  now: number;
}

/** The ordinal in a pod's name; undefined when it is not one of the set's. */
export function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const prefix = `${set.metadata.name}-`;
  const text = pod.metadata.name.startsWith(prefix) ? pod.metadata.name.slice(prefix.length) : '';
  return /^(0|[1-9]\d*)$/.test(text) ? Number(text) : undefined;
}

/** The ordinals that the set asks for. */
export function wantedOrdinals({ spec }: StatefulSet): number[] {
  const start = spec?.ordinals?.start ?? 0;
  return Array.from({ length: spec?.replicas ?? 1 }, (_, i) => start + i);
}

/**
 * The next steps: missing pods in order, each waiting for those before it; superfluous ones from the last, each waiting
 * for those after it; then old ones from the last down to the partition. Parallel sets wait only for updates.
 */
export function planStateful(facts: StatefulFacts): StatefulStep[] {
  const { set, pods, now } = facts;
  if (set.metadata.deletionTimestamp) return [];
  const ordered = set.spec?.podManagementPolicy !== 'Parallel';
  const minReady = set.spec?.minReadySeconds ?? 0;
  const wanted = wantedOrdinals(set);
  const byOrdinal = new Map(
    pods.flatMap((pod) => {
      const ordinal = ordinalOf(set, pod);
      return ordinal === undefined ? [] : [[ordinal, pod] as const];
    }),
  );
  const healthy = (pod: Pod | undefined) =>
    pod !== undefined && !pod.metadata.deletionTimestamp && isPodAvailable(pod, minReady, now);
  const steps: StatefulStep[] = [];
  for (const ordinal of wanted) {
    const pod = byOrdinal.get(ordinal);
    if (!pod) steps.push({ kind: 'create', ordinal, revision: revisionFor(facts, ordinal) });
    else if (isPodFinished(pod) && !pod.metadata.deletionTimestamp) steps.push({ kind: 'delete', pod });
    if (ordered && !healthy(pod)) return steps;
  }
  const superfluous = [...byOrdinal].filter(([ordinal]) => !wanted.includes(ordinal)).sort(([a], [b]) => b - a);
  for (const [, pod] of superfluous) {
    if (!pod.metadata.deletionTimestamp) steps.push({ kind: 'delete', pod });
    if (ordered) return steps;
  }
  return steps.length > 0 ? steps : planUpdate(facts, wanted, byOrdinal, healthy);
}

function partitionOf({ spec }: StatefulSet): number {
  return spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
}

function revisionFor({ set, currentRevision, updateRevision }: StatefulFacts, ordinal: number): string {
  if (set.spec?.updateStrategy?.type === 'OnDelete') return updateRevision;
  return ordinal - (set.spec?.ordinals?.start ?? 0) < partitionOf(set) ? currentRevision : updateRevision;
}

/** Replaces one old pod at a time, the last first; a pod that is not healthy yet holds up the rest. */
function planUpdate(
  { set, updateRevision }: StatefulFacts,
  wanted: readonly number[],
  byOrdinal: ReadonlyMap<number, Pod>,
  healthy: (pod: Pod | undefined) => boolean,
): StatefulStep[] {
  if (set.spec?.updateStrategy?.type === 'OnDelete') return [];
  const start = set.spec?.ordinals?.start ?? 0;
  for (const ordinal of [...wanted].reverse()) {
    if (ordinal - start < partitionOf(set)) return [];
    const pod = byOrdinal.get(ordinal);
    if (!pod || pod.metadata.deletionTimestamp) return [];
    if (pod.metadata.labels?.[revisionHashLabel] !== updateRevision) return [{ kind: 'delete', pod }];
    if (!healthy(pod)) return [];
  }
  return [];
}

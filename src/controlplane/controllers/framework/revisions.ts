import {
  type ApiObject,
  type ControllerRevision,
  controllerOf,
  objectKey,
  type PodTemplateSpec,
} from '../../../api/index.ts';
import { isAlreadyExists } from '../../../client/index.ts';
import { controllerReference, sameJson } from './controller.ts';
import { shortHash } from './pods.ts';
import type { Store } from './store.ts';

/** The label of a pod that says which revision of its owner it was made from. */
export const revisionHashLabel = 'controller-revision-hash';

/** What a DaemonSet or StatefulSet remembers of its templates. */
export interface Revisions {
  current: ControllerRevision;
  /** All, oldest first. */
  all: ControllerRevision[];
  /** Set when a hash collided; to be kept in the owner's status. */
  collisionCount?: number;
}

/** The hash in a revision's label. */
export function revisionHash(revision: ControllerRevision): string {
  return revision.metadata.labels?.[revisionHashLabel] ?? '';
}

/** Finds the revision of the owner's template, or makes it; one that was used before becomes the newest. */
export async function syncRevision(
  owner: ApiObject & { spec?: { template: PodTemplateSpec }; status?: { collisionCount?: number } },
  kind: string,
  store: Store<ControllerRevision>,
): Promise<Revisions> {
  const data = { spec: { template: { ...owner.spec!.template, $patch: 'replace' } } };
  const all = store.by('owner', owner.metadata.uid).sort((a, b) => a.revision - b.revision);
  const newest = all.at(-1)?.revision ?? 0;
  const same = all.findLast((one) => sameJson(one.data, data));
  if (same) {
    if (same.revision === newest) return { current: same, all };
    const current = await store.update({ ...same, revision: newest + 1 });
    return { current, all: [...all.filter((one) => one !== same), current] };
  }
  let collisionCount = owner.status?.collisionCount ?? 0;
  for (;;) {
    const hash = shortHash(data, collisionCount || undefined);
    const { name, namespace } = owner.metadata;
    const metadata = {
      name: `${name}-${hash}`,
      namespace: namespace!,
      labels: { ...owner.spec!.template.metadata?.labels, [revisionHashLabel]: hash },
      ownerReferences: [controllerReference(owner, 'apps/v1', kind)],
    };
    try {
      const current = await store.create({ metadata, data: data as never, revision: newest + 1 });
      return { current, all: [...all, current], ...(collisionCount ? { collisionCount } : {}) };
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const taken = store.get(objectKey({ metadata }));
      // Not in the cache yet: look again when it is.
      if (!taken || controllerOf(taken)?.uid === owner.metadata.uid) throw error;
      collisionCount++;
    }
  }
}

/** Forgets revisions beyond the limit that no pod is of, oldest first. */
export async function trimRevisions(
  revisions: Revisions,
  limit: number,
  inUse: ReadonlySet<string>,
  store: Store<ControllerRevision>,
): Promise<void> {
  const idle = revisions.all.filter((one) => one !== revisions.current && !inUse.has(revisionHash(one)));
  await Promise.all(idle.slice(0, Math.max(0, idle.length - limit)).map((one) => store.delete(one)));
}

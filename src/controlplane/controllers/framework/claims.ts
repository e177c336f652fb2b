import type { ApiObject, Matcher } from '../../../api/index.ts';
import { controllerOf } from '../../../api/index.ts';
import { isNotFound } from '../../../client/index.ts';
import { controllerReference } from './controller.ts';
import type { Store } from './store.ts';

/** Who claims objects by a selector. */
export interface Claimant {
  owner: ApiObject;
  apiVersion: string;
  kind: string;
  matches: Matcher;
}

/** What becomes of the objects that a claimant might own. */
export interface Claims<T> {
  owned: T[];
  adopt: T[];
  release: T[];
}

/**
 * Sorts objects: those that are owned and selected stay, those that are owned and not selected any more are let go,
 * those that nobody owns and that are selected are taken. An owner on its way out takes nothing.
 */
export function planClaims<T extends ApiObject>(
  claimant: Claimant,
  candidates: readonly T[],
  mayAdopt: (object: T) => boolean = () => true,
): Claims<T> {
  const { owner, matches } = claimant;
  const leaving = owner.metadata.deletionTimestamp !== undefined;
  const claims: Claims<T> = { owned: [], adopt: [], release: [] };
  for (const object of candidates) {
    const controller = controllerOf(object);
    const selected = matches(object.metadata.labels);
    if (controller) {
      if (controller.uid !== owner.metadata.uid) continue;
      if (selected) claims.owned.push(object);
      else if (!leaving) claims.release.push(object);
    } else if (selected && !leaving && !object.metadata.deletionTimestamp && mayAdopt(object)) {
      claims.adopt.push(object);
    }
  }
  return claims;
}

/** The objects that may be the claimant's: what it owns, and what nobody owns in its namespace. */
export function claimCandidates<T extends ApiObject>(store: Store<T>, owner: ApiObject): T[] {
  const orphans = store.by('owner', '').filter(({ metadata }) => metadata.namespace === owner.metadata.namespace);
  return [...store.by('owner', owner.metadata.uid), ...orphans];
}

/** Carries out claims; gives everything that is owned afterwards. */
export async function actClaims<T extends ApiObject>(
  claimant: Claimant,
  claims: Claims<T>,
  store: Store<T>,
): Promise<T[]> {
  const { owner, apiVersion, kind } = claimant;
  const adopted = await Promise.all(
    claims.adopt.map(async (object) => {
      const references = [...(object.metadata.ownerReferences ?? []), controllerReference(owner, apiVersion, kind)];
      return changeOwners(store, object, references);
    }),
  );
  await Promise.all(
    claims.release.map((object) => {
      const references = (object.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata.uid);
      return changeOwners(store, object, references);
    }),
  );
  return [...claims.owned, ...adopted.filter((object) => object !== undefined)];
}

async function changeOwners<T extends ApiObject>(
  store: Store<T>,
  object: T,
  ownerReferences: object[],
): Promise<T | undefined> {
  const { uid, resourceVersion } = object.metadata;
  try {
    return await store.patch(object.metadata, { metadata: { uid, resourceVersion, ownerReferences } });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/**
 * Does `count` things, few at first and then more at once, and stops adding when some fail. Gives how many succeeded
 * and the first failure: a quota that is used up costs a few refusals, not hundreds.
 */
export async function slowStart(
  count: number,
  task: (index: number) => Promise<unknown>,
): Promise<{ done: number; error?: unknown }> {
  let done = 0;
  let batch = 8;
  for (let next = 0; next < count; ) {
    const indexes = Array.from({ length: Math.min(batch, count - next) }, (_, i) => next + i);
    const results = await Promise.allSettled(indexes.map(task));
    done += results.filter(({ status }) => status === 'fulfilled').length;
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) return { done, error: failed.reason };
    next += indexes.length;
    batch = Math.min(batch * 2, 32);
  }
  return { done };
}

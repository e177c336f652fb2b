import { objectOf, type Stored, StoreError } from '../../store/index.ts';
import { type Caller, type Core, formatTime } from '../core.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { notFound } from '../status-error.ts';
import { draftOf } from './create.ts';
import { badRequest, conflict } from './errors.ts';
import { admissionRequest, admit, contextOf, hasGeneration, isRelaxed, Reservations } from './prepare.ts';
import { isEnded } from './update.ts';

/** A request to delete one object. */
export interface DeleteRequest {
  info: ResourceInfo;
  namespace: string;
  name: string;
  caller: Caller;
  gracePeriodSeconds?: number | undefined;
  /** Background (default), Foreground or Orphan: what becomes of the objects it owns. */
  propagationPolicy?: string | undefined;
  /** The older form of propagationPolicy Orphan. */
  orphanDependents?: boolean | undefined;
  uid?: string | undefined;
  resourceVersion?: string | undefined;
}

/** How a deletion went: the object's last state, and whether it is gone already. */
export interface DeleteResult {
  stored: Stored;
  gone: boolean;
}

const policyFinalizers = ['orphan', 'foregroundDeletion'];

/**
 * Deletes an object, at once or gracefully: with a grace period or finalizers it is only marked.
 * @throws StatusError 400, 403, 404, 409 …
 */
export async function deleteObject(core: Core, request: DeleteRequest): Promise<DeleteResult> {
  const { info, namespace, name, caller } = request;
  for (;;) {
    const stored = core.store.getHead(info.storage.key, namespace, name);
    if (!stored) throw notFound(info.group, info.plural, name);
    const old = objectOf(stored);
    checkPreconditions(request, old);
    const admission = admissionRequest(core, caller, 'DELETE', info, '', namespace, name, { oldObject: old });
    await admit(core, caller, admission, 'mutate');
    await admit(core, caller, admission, 'validate');
    const next = markDeleted(core, request, JSON.parse(stored.bytes.toString()));
    if (!next) return { stored, gone: false };
    const gone = isEnded(info, next);
    if (caller.dryRun) return { stored: draftOf(next), gone };
    try {
      const written = await core.store.write({
        resource: info.storage.key,
        namespace,
        name,
        expect: stored.revision,
        object: next,
        deleted: gone,
        relaxed: isRelaxed(info),
      });
      if (gone) {
        const context = contextOf(core, caller, namespace, '', new Reservations());
        await core.extensions.rules[info.storage.key]?.afterDelete?.(next, context);
      }
      return { stored: written, gone };
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'CONFLICT') throw error;
    }
  }
}

function checkPreconditions(request: DeleteRequest, old: any): void {
  const { info, name, uid, resourceVersion } = request;
  if (uid && uid !== old.metadata.uid) {
    throw conflict(
      info,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
    );
  }
  if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) {
    throw conflict(
      info,
      name,
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${old.metadata.resourceVersion}`,
    );
  }
}

/** The object as it is after the deletion has begun (or went on); undefined when nothing changes. */
function markDeleted(core: Core, request: DeleteRequest, object: any): any {
  const { metadata } = object;
  const rules = core.extensions.rules[request.info.storage.key];
  const grace = rules?.graceSeconds?.(object, request.gracePeriodSeconds) ?? 0;
  const finalizersChanged = applyPropagation(request, metadata);
  const begun = metadata.deletionTimestamp !== undefined;
  const pending: number = metadata.deletionGracePeriodSeconds ?? 0;
  if (begun && !finalizersChanged) {
    const shorter = request.gracePeriodSeconds !== undefined && grace < pending;
    if (!shorter && !isEnded(request.info, object)) return undefined;
  }
  if (!begun || (request.gracePeriodSeconds !== undefined && grace < pending)) {
    metadata.deletionTimestamp = formatTime(core.clock.now() + grace * 1000);
    metadata.deletionGracePeriodSeconds = grace;
  }
  if (!begun && hasGeneration(core, request.info)) metadata.generation = (metadata.generation ?? 0) + 1;
  if (request.info.storage.key === 'namespaces') object.status = { ...object.status, phase: 'Terminating' };
  return object;
}

/** Sets the finalizer that tells the garbage collector what to do. Says whether that changed anything. */
function applyPropagation(request: DeleteRequest, metadata: any): boolean {
  const { propagationPolicy, orphanDependents } = request;
  if (propagationPolicy && orphanDependents !== undefined) {
    throw badRequest('orphanDependents and deletionPropagation cannot be both set');
  }
  const policy =
    propagationPolicy ?? (orphanDependents === true ? 'Orphan' : orphanDependents === false ? 'Background' : '');
  if (policy === '') return false;
  const before: string[] = metadata.finalizers ?? [];
  const finalizers = before.filter((one) => !policyFinalizers.includes(one));
  if (policy === 'Orphan') finalizers.push('orphan');
  else if (policy === 'Foreground') finalizers.push('foregroundDeletion');
  if (finalizers.length === before.length && finalizers.every((one) => before.includes(one))) return false;
  if (finalizers.length > 0) metadata.finalizers = finalizers;
  else delete metadata.finalizers;
  return true;
}

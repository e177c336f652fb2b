import { deepEqual } from '../../../api/patch/index.ts';
import { objectOf, type Stored, StoreError } from '../../store/index.ts';
import type { Caller, Core } from '../core.ts';
import type { ObjectContext } from '../extension-points.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { invalid, notFound } from '../status-error.ts';
import { fromStorage, toStorage } from './conversion.ts';
import { draftOf } from './create.ts';
import { badRequest, conflict, modified } from './errors.ts';
import { trackUpdate } from './managed-fields.ts';
import {
  admissionRequest,
  admit,
  contextOf,
  hasGeneration,
  isRelaxed,
  Reservations,
  specChanged,
  validateObject,
} from './prepare.ts';
import { keepOutsideSubresource } from './subresource.ts';

/** How often a write is tried again when others write in between. */
const attempts = 30;

/** A change of one object. */
export interface UpdateRequest {
  info: ResourceInfo;
  namespace: string;
  name: string;
  /** '' or the subresource through which it is written. */
  subresource: string;
  caller: Caller;
  /**
   * Makes the new object of the current one. Both are in the version of the request; the current one is a copy to change or keep.
   * Called again when another write came between, so it must not depend on having been called before.
   */
  change(current: any): any;
  /** Checked before the write, with the object as it is stored. */
  precondition?(old: any): void;
}

/**
 * Changes an object; tries again when another write came between, which fails when the new object names a resourceVersion.
 * @throws StatusError 400, 403, 404, 409, 422 …
 */
export async function updateObject(core: Core, request: UpdateRequest): Promise<Stored> {
  const { info, namespace, name } = request;
  for (let attempt = 1; ; attempt++) {
    const stored = core.store.getHead(info.storage.key, namespace, name);
    if (!stored) throw notFound(info.group, info.plural, name);
    const reservations = new Reservations();
    try {
      const old = objectOf(stored);
      request.precondition?.(old);
      const next = toStorage(info, request.change(fromStorage(info, JSON.parse(stored.bytes.toString()))));
      checkIdentity(request, next, old, stored);
      return await tryUpdate(core, request, next, old, stored, reservations);
    } catch (error) {
      await reservations.release();
      if (!(error instanceof StoreError) || error.code !== 'CONFLICT') throw error;
      if (attempt === attempts) throw modified(info, name);
    }
  }
}

/** Compares names, uid and resourceVersion with the request. */
function checkIdentity(request: UpdateRequest, next: any, old: any, stored: Stored): void {
  const { info, name, namespace } = request;
  const metadata = (next.metadata ??= {});
  if (metadata.name === undefined || metadata.name === '') metadata.name = name;
  if (metadata.name !== name) {
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
  }
  if (info.namespaced) {
    if (!metadata.namespace) metadata.namespace = namespace;
    if (metadata.namespace !== namespace) {
      throw badRequest(
        `the namespace of the object (${metadata.namespace}) does not match the namespace on the URL (${namespace})`,
      );
    }
  }
  if (metadata.uid && metadata.uid !== old.metadata.uid) {
    throw conflict(
      info,
      name,
      `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${old.metadata.uid}`,
    );
  }
  const version: string | undefined = metadata.resourceVersion;
  if (version === undefined || version === '' || version === '0') return;
  if (!/^\d+$/.test(version)) {
    throw invalid(info.group, info.kind, name, [
      {
        field: 'metadata.resourceVersion',
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(version)}: must be an unsigned integer`,
      },
    ]);
  }
  if (version !== String(stored.revision)) throw modified(info, name);
}

/** Metadata that only the server writes. */
function keepMetadata(next: any, old: any): void {
  const { metadata } = next;
  for (const key of [
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generation',
    'generateName',
  ]) {
    if (old.metadata[key] === undefined) delete metadata[key];
    else metadata[key] = old.metadata[key];
  }
  delete metadata.selfLink;
  if (metadata.managedFields === undefined && old.metadata.managedFields) {
    metadata.managedFields = old.metadata.managedFields;
  }
  next.apiVersion = old.apiVersion;
  next.kind = old.kind;
}

async function tryUpdate(
  core: Core,
  request: UpdateRequest,
  next: any,
  old: any,
  stored: Stored,
  reservations: Reservations,
): Promise<Stored> {
  const { info, namespace, name, subresource, caller } = request;
  const rules = core.extensions.rules[info.storage.key];
  keepMetadata(next, old);
  keepOutsideSubresource(info, subresource, next, old);
  rules?.setDefaults?.(next);
  const context = contextOf(core, caller, namespace, subresource, reservations);
  const admission = admissionRequest(core, caller, 'UPDATE', info, subresource, namespace, name, {
    object: next,
    oldObject: old,
  });
  await admit(core, caller, admission, 'mutate');
  if (!caller.internal) {
    const prepared = rules?.prepareForUpdate?.(next, old, context);
    if (prepared) await prepared;
    validateObject(core, info, next, old, context);
  }
  await admit(core, caller, admission, 'validate');
  if (hasGeneration(core, info)) {
    next.metadata.generation =
      (old.metadata.generation ?? 0) + (specChanged(next, old) && !isBinding(info, next, old) ? 1 : 0);
  }
  if (next.metadata.managedFields && !caller.tracksFields) {
    trackUpdate(next, old, info.storage.typeName, caller.fieldManager, subresource, core.clock.now());
  }
  next.metadata.resourceVersion = old.metadata.resourceVersion;
  const ended = isEnded(info, next);
  if (!ended && deepEqual(next, old)) {
    await reservations.release();
    return stored;
  }
  if (caller.dryRun) {
    await reservations.release();
    return draftOf(next);
  }
  return writeChange(core, info, next, stored, ended, context);
}

async function writeChange(
  core: Core,
  info: ResourceInfo,
  object: any,
  stored: Stored,
  deleted: boolean,
  context: ObjectContext,
): Promise<Stored> {
  const written = await core.store.write({
    resource: info.storage.key,
    namespace: stored.namespace,
    name: stored.name,
    expect: stored.revision,
    object,
    deleted,
    relaxed: isRelaxed(info),
  });
  if (deleted) await core.extensions.rules[info.storage.key]?.afterDelete?.(object, context);
  return written;
}

/** Whether nothing keeps an object any more that is being deleted. */
export function isEnded(info: ResourceInfo, object: any): boolean {
  const { metadata } = object;
  if (!metadata.deletionTimestamp || metadata.finalizers?.length > 0) return false;
  if (info.storage.key === 'namespaces' && object.spec?.finalizers?.length > 0) return false;
  return !(metadata.deletionGracePeriodSeconds > 0);
}

/** To give a pod to a node is no change of what the pod asks for: it counts as none. */
function isBinding({ storage }: ResourceInfo, next: any, old: any): boolean {
  return storage.key === 'pods' && !old.spec?.nodeName && Boolean(next.spec?.nodeName);
}

import { type Stored, StoreError } from '../../store/index.ts';
import type { Caller, Core } from '../core.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { alreadyExists } from './errors.ts';
import {
  admissionRequest,
  admit,
  contextOf,
  fillNewMetadata,
  generateName,
  isRelaxed,
  Reservations,
  validateObject,
} from './prepare.ts';

/** How often a generated name that is taken is drawn again. */
const generateAttempts = 8;

/**
 * Creates an object: defaults, admission, preparation, validation, store. The object is in the storage version, is changed in
 * place, and belongs to the store afterwards.
 * @throws StatusError 400, 403, 409, 422 …
 */
export async function createObject(
  core: Core,
  info: ResourceInfo,
  namespace: string,
  object: any,
  caller: Caller,
): Promise<Stored> {
  const { storage } = info;
  const rules = core.extensions.rules[storage.key];
  const generated = !object.metadata?.name && object.metadata?.generateName;
  object.apiVersion = storage.apiVersion;
  object.kind = storage.kind;
  fillNewMetadata(core, info, namespace, object);
  const { metadata } = object;
  if (caller.managedFields) metadata.managedFields = caller.managedFields;
  if (!generated && core.store.getHead(storage.key, namespace, metadata.name)) throw alreadyExists(info, metadata.name);
  rules?.setDefaults?.(object);
  const request = admissionRequest(core, caller, 'CREATE', info, '', namespace, metadata.name, { object });
  await admit(core, caller, request, 'mutate');
  const reservations = new Reservations();
  const context = contextOf(core, caller, namespace, '', reservations);
  try {
    const prepared = rules?.prepareForCreate?.(object, context);
    if (prepared) await prepared;
    rules?.setDefaults?.(object);
    if (!caller.internal) validateObject(core, info, object, undefined, context);
    await admit(core, caller, request, 'validate');
    if (caller.dryRun) {
      await reservations.release();
      return draftOf(object);
    }
    return await writeNew(core, info, object, generated);
  } catch (error) {
    await reservations.release();
    throw error;
  }
}

/** Writes; draws another name while a generated one is taken. */
async function writeNew(core: Core, info: ResourceInfo, object: any, generated: string | undefined): Promise<Stored> {
  const { metadata } = object;
  for (let attempt = 1; ; attempt++) {
    try {
      return await core.store.write({
        resource: info.storage.key,
        namespace: metadata.namespace ?? '',
        name: metadata.name,
        expect: 0,
        object,
        relaxed: isRelaxed(info),
      });
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'CONFLICT') throw error;
      if (!generated || attempt === generateAttempts) throw alreadyExists(info, metadata.name);
      metadata.name = generateName(generated);
    }
  }
}

/** An object that was not stored (a dry run), as if it were. */
export function draftOf(object: any): Stored {
  const { namespace = '', name } = object.metadata;
  return { namespace, name, revision: 0, bytes: Buffer.from(JSON.stringify(object)), object };
}

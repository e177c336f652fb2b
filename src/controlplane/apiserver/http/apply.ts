import { deepCopy } from '../../../api/patch/index.ts';
import { toStorage } from '../objects/conversion.ts';
import { createObject } from '../objects/create.ts';
import { badRequest } from '../objects/errors.ts';
import { applyConfiguration } from '../objects/managed-fields.ts';
import { invalid, notFound } from '../status-error.ts';
import { checkBody, expectationOf, fieldValidationOf } from './decode-body.ts';
import { callerOf, type Exchange } from './exchange.ts';
import type { ParsedPatch } from './patch.ts';
import { isTrue } from './request-target.ts';
import { addWarnings, sendStored } from './respond.ts';
import { runUpdate } from './write-verbs.ts';

/** Server-side apply: merges the configuration by the types' rules, minding who manages which field; creates what is not there. */
export async function handleApply(exchange: Exchange, patch: ParsedPatch): Promise<void> {
  const { core, target, response, encoding, url } = exchange;
  const { info, namespace, name, subresource } = target;
  const query = url.searchParams;
  if (!query.get('fieldManager')) {
    throw invalid('meta.k8s.io', 'PatchOptions', '', [
      { field: 'fieldManager', reason: 'FieldValueRequired', message: 'Required value: is required for apply patch' },
    ]);
  }
  const config = patch.value;
  const expected = expectationOf(info);
  if (!config.apiVersion || !config.kind)
    throw badRequest("Object 'Kind' or 'apiVersion' is missing in the apply configuration");
  const validation = fieldValidationOf(query);
  addWarnings(response, checkBody({ object: config, duplicates: [], binary: false }, expected, validation));
  checkConfig(config, name, info.namespaced ? namespace : '');
  const caller = callerOf(exchange, { patch: true });
  const application = {
    config,
    typeName: info.typeName,
    manager: caller.fieldManager,
    subresource,
    force: isTrue(query.get('force')),
    now: core.clock.now(),
  };
  if (core.store.getHead(info.storage.key, namespace, name)) {
    caller.tracksFields = true;
    return runUpdate(exchange, { caller, change: (live) => applyConfiguration({ ...application, live }) });
  }
  if (subresource !== '' || config.metadata?.uid) throw notFound(info.group, info.plural, name);
  const object = applyConfiguration({ ...application, live: undefined });
  caller.managedFields = object.metadata.managedFields;
  const stored = await createObject(core, info, namespace, toStorage(info, deepCopy(object)), caller);
  await sendStored(core, response, 201, info, stored, encoding);
}

function checkConfig(config: any, name: string, namespace: string): void {
  const metadata = (config.metadata ??= {});
  if (metadata.managedFields?.length > 0) throw badRequest('metadata.managedFields must be nil');
  metadata.name ??= name;
  if (metadata.name !== name) {
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
  }
  if (namespace === '') return;
  metadata.namespace ??= namespace;
  if (metadata.namespace !== namespace) {
    throw badRequest(
      `the namespace of the object (${metadata.namespace}) does not match the namespace on the URL (${namespace})`,
    );
  }
}

/**
 * Who manages which fields (metadata.managedFields). It is kept for objects that are applied: from the first server-side apply
 * on, every write notes what it changed. Objects that nobody applies carry nothing.
 */
import {
  abandonedFields,
  changedFields,
  differenceOf,
  emptySet,
  type FieldNode,
  fieldsOf,
  formatFieldsV1,
  isEmptySet,
  type Layout,
  layoutOfType,
  mergeStructured,
  parseFieldsV1,
  pathsOf,
  removeFields,
  unionOf,
} from '../../../api/patch/index.ts';
import { formatTime } from '../core.ts';
import { StatusError } from '../status-error.ts';

/** One entry of managedFields, with its set read. */
interface Manager {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  subresource: string;
  time: string | undefined;
  fields: FieldNode;
}

function readManagers(object: any): Manager[] {
  return (object?.metadata?.managedFields ?? []).map((entry: any) => ({
    manager: entry.manager ?? '',
    operation: entry.operation === 'Apply' ? 'Apply' : 'Update',
    apiVersion: entry.apiVersion ?? '',
    subresource: entry.subresource ?? '',
    time: entry.time,
    fields: parseFieldsV1(entry.fieldsV1),
  }));
}

function writeManagers(managers: Manager[]): object[] {
  return managers
    .filter(({ fields }) => !isEmptySet(fields))
    .map(({ manager, operation, apiVersion, subresource, time, fields }) => ({
      manager,
      operation,
      apiVersion,
      time,
      fieldsType: 'FieldsV1',
      fieldsV1: formatFieldsV1(fields),
      ...(subresource ? { subresource } : {}),
    }));
}

/** Metadata that nobody manages. */
const unmanaged = [
  'name',
  'namespace',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generation',
  'managedFields',
  'resourceVersion',
  'selfLink',
  'uid',
];

/** The part of an object that writers through the subresource manage. */
function managedPart(object: any, subresource: string): any {
  if (subresource === 'status') return object.status === undefined ? {} : { status: object.status };
  const { apiVersion: _, kind: __, status: ___, metadata, ...rest } = object;
  const kept = { ...metadata };
  for (const key of unmanaged) delete kept[key];
  return Object.keys(kept).length > 0 ? { metadata: kept, ...rest } : rest;
}

/** A server-side apply. */
export interface Application {
  /** The object as it is; undefined when it is to be created. */
  live: any | undefined;
  config: any;
  typeName: string;
  manager: string;
  subresource: string;
  force: boolean;
  /** Milliseconds since 1970. */
  now: number;
}

/**
 * The object after the configuration is applied, with its managedFields.
 * @throws StatusError 409 naming the fields that others manage otherwise, unless forced
 */
export function applyConfiguration(application: Application): any {
  const { live, config, typeName, manager, subresource, force, now } = application;
  const layout = layoutOfType(typeName);
  const wanted = managedPart(config, subresource);
  const claimed = fieldsOf(wanted, layout);
  claimed.owned = false;
  const managers = readManagers(live);
  const isSelf = (one: Manager) =>
    one.operation === 'Apply' && one.manager === manager && one.subresource === subresource;
  const self = managers.find(isSelf);
  const others = managers.filter((one) => !isSelf(one));
  const changing = live === undefined ? emptySet() : intersection(claimed, changedByConfig(live, wanted, layout));
  const conflicts = others
    .map((one) => ({ one, fields: intersection(one.fields, changing) }))
    .filter(({ fields }) => pathsOf(fields).length > 0);
  if (conflicts.length > 0 && !force) throw conflictError(conflicts);
  for (const { one, fields } of conflicts) one.fields = differenceOf(one.fields, fields);
  const owned = others.reduce((sum, one) => unionOf(sum, one.fields), emptySet());
  const gone = self ? abandonedFields(self.fields, claimed, owned) : emptySet();
  const base = live === undefined ? { ...config, metadata: { ...config.metadata } } : live;
  const merged: any = removeFields(mergeStructured(base, wanted, layout), gone, layout);
  const same = self && JSON.stringify(formatFieldsV1(self.fields)) === JSON.stringify(formatFieldsV1(claimed));
  const entry: Manager = {
    manager,
    operation: 'Apply',
    apiVersion: config.apiVersion,
    subresource,
    time: same ? self.time : formatTime(now),
    fields: claimed,
  };
  return { ...merged, metadata: { ...merged.metadata, managedFields: writeManagers([...others, entry]) } };
}

/** Fields whose value the configuration would change. */
function changedByConfig(live: any, wanted: any, layout: Layout): FieldNode {
  return changedFields(live, mergeStructured(live, wanted, layout), layout);
}

function intersection(a: FieldNode, b: FieldNode): FieldNode {
  const children = new Map<string, FieldNode>();
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    if (!other) continue;
    const inner = intersection(child, other);
    if (!isEmptySet(inner)) children.set(element, inner);
  }
  return { owned: a.owned && b.owned, children };
}

function conflictError(conflicts: { one: Manager; fields: FieldNode }[]): StatusError {
  const causes = conflicts.flatMap(({ one, fields }) => {
    const using = one.operation === 'Update' ? ` using ${one.apiVersion}` : ` using ${one.apiVersion}`;
    const message = `conflict with ${JSON.stringify(one.manager)}${one.subresource ? ` with subresource ${JSON.stringify(one.subresource)}` : ''}${using}`;
    return pathsOf(fields).map((field) => ({ reason: 'FieldManagerConflict', message, field }));
  });
  const texts = causes.map(({ message, field }) => `${message}: ${field}`);
  const many = causes.length === 1 ? '1 conflict' : `${causes.length} conflicts`;
  return new StatusError(409, 'Conflict', `Apply failed with ${many}: ${texts.join('\n')}`, { causes });
}

/** Notes in `next` what a plain write changed, when the object has managers at all. */
export function trackUpdate(
  next: any,
  old: any,
  typeName: string,
  manager: string,
  subresource: string,
  now: number,
): void {
  const managers = readManagers(next);
  if (managers.length === 0) return;
  const layout = layoutOfType(typeName);
  const after = managedPart(next, subresource);
  const changed = changedFields(managedPart(old, subresource), after, layout);
  if (isEmptySet(changed)) return;
  const isSelf = (one: Manager) =>
    one.operation === 'Update' && one.manager === manager && one.subresource === subresource;
  for (const one of managers) if (!isSelf(one)) one.fields = differenceOf(one.fields, changed);
  const present = fieldsOf(after, layout);
  const self = managers.find(isSelf);
  const fields = withinOf(unionOf(self?.fields ?? emptySet(), changed), present);
  const entry: Manager = {
    manager,
    operation: 'Update',
    apiVersion: next.apiVersion,
    subresource,
    time: formatTime(now),
    fields,
  };
  next.metadata.managedFields = writeManagers([...managers.filter((one) => !isSelf(one)), entry]);
}

/** The part of a set that the object still has. */
function withinOf(set: FieldNode, present: FieldNode): FieldNode {
  const children = new Map<string, FieldNode>();
  for (const [element, child] of set.children) {
    const there = present.children.get(element);
    if (!there) continue;
    const inner = withinOf(child, there);
    if (!isEmptySet(inner)) children.set(element, inner);
  }
  return { owned: set.owned, children };
}

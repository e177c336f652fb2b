import { randomUUID } from 'node:crypto';
import { deepEqual } from '../../../api/patch/index.ts';
import { type Caller, type Core, formatTime } from '../core.ts';
import type { AdmissionRequest, FieldError, ObjectContext } from '../extension-points.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { invalid } from '../status-error.ts';
import { badRequest } from './errors.ts';

/** Collects what must be given back when a write fails. */
export class Reservations {
  readonly #undo: (() => void | Promise<void>)[] = [];

  add(undo: () => void | Promise<void>): void {
    this.#undo.push(undo);
  }
  async release(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo();
  }
}

/** What rules are told of the request. */
export function contextOf(
  core: Core,
  caller: Caller,
  namespace: string,
  subresource: string,
  reservations: Reservations,
): ObjectContext {
  return {
    user: caller.user,
    namespace,
    dryRun: caller.dryRun,
    now: core.clock.now(),
    subresource,
    registry: core.registry,
    onFailure: (undo) => reservations.add(undo),
  };
}

/** Asks every admission plugin, in order, once to change and once to judge. */
export async function admit(core: Core, caller: Caller, request: AdmissionRequest, step: 'mutate' | 'validate') {
  if (caller.internal) return;
  for (const plugin of core.extensions.admission) {
    const asked = plugin[step]?.(request);
    if (asked) await asked;
  }
}

/** The request as admission sees it. */
export function admissionRequest(
  core: Core,
  caller: Caller,
  operation: AdmissionRequest['operation'],
  info: ResourceInfo,
  subresource: string,
  namespace: string,
  name: string,
  objects: { object?: any; oldObject?: any },
): AdmissionRequest {
  const { group, version, plural, kind } = info;
  return {
    operation,
    resource: { group, version, plural, kind },
    subresource,
    namespace,
    name,
    user: caller.user,
    dryRun: caller.dryRun,
    options: caller.options,
    registry: core.registry,
    ...objects,
  };
}

const letters = 'bcdfghjklmnpqrstvwxz2456789';

/** The name that a generateName prefix becomes: five letters more, the prefix cut so that all fits in 63. */
export function generateName(prefix: string): string {
  let suffix = '';
  for (let i = 0; i < 5; i++) suffix += letters[Math.floor(Math.random() * letters.length)];
  return prefix.slice(0, 58) + suffix;
}

/** Fills the metadata of a new object; throws 400 or 422 when it does not fit the request. */
export function fillNewMetadata(core: Core, info: ResourceInfo, namespace: string, object: any): void {
  const metadata = (object.metadata ??= {});
  if (info.namespaced) {
    if (metadata.namespace === undefined || metadata.namespace === '') metadata.namespace = namespace;
    if (metadata.namespace !== namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
    }
  } else delete metadata.namespace;
  if (metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete metadata.selfLink;
  delete metadata.managedFields;
  if (!metadata.name && metadata.generateName) metadata.name = generateName(metadata.generateName);
  const problems = nameProblems(metadata.name);
  if (problems) throw invalid(info.group, info.kind, metadata.name ?? '', [problems]);
  metadata.uid = randomUUID();
  metadata.creationTimestamp = formatTime(core.clock.now());
  if (hasGeneration(core, info)) metadata.generation = 1;
  else delete metadata.generation;
}

function nameProblems(name: unknown): FieldError | undefined {
  if (typeof name !== 'string' || name === '') {
    return {
      field: 'metadata.name',
      reason: 'FieldValueRequired',
      message: 'Required value: name or generateName is required',
    };
  }
  const bad = name === '.' || name === '..' ? `may not be '${name}'` : name.includes('/') ? "may not contain '/'" : '';
  const percent = bad || (name.includes('%') ? "may not contain '%'" : '');
  if (!percent) return undefined;
  return {
    field: 'metadata.name',
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${JSON.stringify(name)}: ${percent}`,
  };
}

/** Whether metadata.generation counts the changes of the kind's spec. */
export function hasGeneration(core: Core, info: ResourceInfo): boolean {
  return core.extensions.rules[info.storage.key]?.hasGeneration ?? info.storage.hasStatus;
}

/** Whether anything but metadata and status differs. */
export function specChanged(now: any, before: any): boolean {
  for (const key of new Set([...Object.keys(now), ...Object.keys(before)])) {
    if (key === 'metadata' || key === 'status' || key === 'apiVersion' || key === 'kind') continue;
    if (!deepEqual(now[key], before[key])) return true;
  }
  return false;
}

/** Throws 422 with everything that the kind's rules find wrong. */
export function validateObject(
  core: Core,
  info: ResourceInfo,
  object: any,
  old: any | undefined,
  context: ObjectContext,
): void {
  const errors = core.extensions.rules[info.storage.key]?.validate?.(object, old, context) ?? [];
  if (errors.length > 0) throw invalid(info.group, info.kind, object.metadata.name, errors);
}

/** Heartbeats and events may be lost when the machine (not the process) dies. */
export function isRelaxed(info: ResourceInfo): boolean {
  return info.plural === 'leases' || info.plural === 'events';
}

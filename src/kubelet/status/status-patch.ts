import type { PodCondition, PodStatus } from '../../api/index.ts';
import { ownConditions, passingConditions } from './conditions.ts';

/** The fields of a status that the kubelet writes. Others (nominatedNodeName, resourceClaimStatuses) are left alone. */
const ownFields = [
  'phase',
  'reason',
  'message',
  'observedGeneration',
  'qosClass',
  'startTime',
  'hostIP',
  'hostIPs',
  'podIP',
  'podIPs',
  'initContainerStatuses',
  'containerStatuses',
  'ephemeralContainerStatuses',
  'resources',
  'allocatedResources',
] as const;

/** Lists that a strategic merge patch merges by `ip`: to take an address out, the whole list is replaced. */
const mergedByIp: ReadonlySet<string> = new Set(['hostIPs', 'podIPs']);

/**
 * The strategic merge patch that makes `known` into `desired`; undefined when there is nothing to change.
 * Conditions of others stay: conditions are merged by type, and only our own are sent.
 */
export function statusPatch(known: PodStatus | undefined, desired: PodStatus): Record<string, unknown> | undefined {
  const patch: Record<string, unknown> = {};
  for (const field of ownFields) {
    const before = known?.[field];
    const after = desired[field];
    if (sameValue(before, after)) continue;
    if (after === undefined) patch[field] = null;
    else if (mergedByIp.has(field) && Array.isArray(before) && before.length > 0) {
      patch[field] = [...(after as object[]), { $patch: 'replace' }];
    } else patch[field] = after;
  }
  const conditions: object[] = (desired.conditions ?? [])
    .filter((one) => isOwn(one) && !sameCondition(known, one))
    .map((one) => withoutOld(known, one));
  for (const type of passingConditions) {
    const has = (status: PodStatus | undefined) => status?.conditions?.some((one) => one.type === type);
    if (has(known) && !has(desired)) conditions.push({ type, $patch: 'delete' });
  }
  if (conditions.length > 0) patch['conditions'] = conditions;
  return Object.keys(patch).length > 0 ? patch : undefined;
}

function isOwn({ type }: PodCondition): boolean {
  return (ownConditions as readonly string[]).includes(type);
}

/** A merge keeps what it is not told of: a reason or message that is over has to be taken away. */
function withoutOld(known: PodStatus | undefined, condition: PodCondition): object {
  const before = known?.conditions?.find(({ type }) => type === condition.type);
  return {
    ...(before?.reason ? { reason: null } : {}),
    ...(before?.message ? { message: null } : {}),
    ...condition,
  };
}

function sameCondition(known: PodStatus | undefined, condition: PodCondition): boolean {
  const before = known?.conditions?.find(({ type }) => type === condition.type);
  if (!before) return false;
  return (['status', 'reason', 'message', 'observedGeneration'] as const).every(
    (field) => (before[field] || '') === (condition[field] || ''),
  );
}

/** Deep equality of JSON values; absent, undefined and null are the same, as are empty objects within. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b || (isEmpty(a) && isEmpty(b))) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((one, index) => sameValue(one, b[index]));
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => sameValue((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0;
}

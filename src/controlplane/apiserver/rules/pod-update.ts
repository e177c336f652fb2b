import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError } from '../extension-points.ts';
import { forbiddenField, invalidValue } from './field-errors.ts';

const listKeys = ['containers', 'initContainers'] as const;

/** Names the fields in which two JSON values differ: `containers[0].command`. At most `limit` of them. */
export function differences(a: any, b: any, path = '', found: string[] = [], limit = 5): string[] {
  if (found.length >= limit || deepEqual(a, b)) return found;
  const bothLists = Array.isArray(a) && Array.isArray(b) && a.length === b.length;
  const bothMaps = isMap(a) && isMap(b);
  if (bothLists) for (const [index, one] of a.entries()) differences(one, b[index], `${path}[${index}]`, found, limit);
  else if (bothMaps) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      differences(a[key], b[key], path ? `${path}.${key}` : key, found, limit);
    }
  } else found.push(`${path}: ${JSON.stringify(a) ?? 'unset'} -> ${JSON.stringify(b) ?? 'unset'}`);
  return found;
}

const isMap = (value: any): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Validates an update of a pod through its main resource: very little of a pod may change. */
export function validatePodUpdate(pod: any, old: any): FieldError[] {
  const errors: FieldError[] = [];
  const { spec } = pod;
  for (const list of listKeys) {
    if ((spec[list]?.length ?? 0) !== (old.spec[list]?.length ?? 0)) {
      return [forbiddenField(`spec.${list}`, 'pod updates may not add or remove containers')];
    }
    (spec[list] ?? []).forEach((container: any, index: number) => {
      if (!container.image)
        errors.push({ field: `spec.${list}[${index}].image`, reason: 'FieldValueRequired', message: 'Required value' });
    });
  }
  errors.push(...validateDeadline(spec.activeDeadlineSeconds, old.spec.activeDeadlineSeconds));
  errors.push(...validateTolerations(spec.tolerations ?? [], old.spec.tolerations ?? []));
  errors.push(...validateGates(spec.schedulingGates ?? [], old.spec.schedulingGates ?? []));
  const changed = differences(allowedAside(old.spec, spec), allowedAside(spec, spec));
  if (changed.length > 0) {
    const text = [
      'pod updates may not change fields other than `spec.containers[*].image`',
      '`spec.initContainers[*].image`',
      '`spec.activeDeadlineSeconds`',
      '`spec.tolerations` (only additions to existing tolerations)',
      '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
    ].join(',');
    errors.push(forbiddenField('spec', `${text}\n${changed.map((one) => `  ${one}`).join('\n')}\n`));
  }
  return errors;
}

/** A spec with the fields that may change taken from `now`. */
function allowedAside(spec: any, now: any): any {
  const copy = { ...spec };
  for (const list of listKeys) {
    if (copy[list]) {
      copy[list] = copy[list].map((container: any, index: number) => ({
        ...container,
        image: now[list]?.[index]?.image,
      }));
    }
  }
  copy.activeDeadlineSeconds = now.activeDeadlineSeconds;
  copy.tolerations = now.tolerations;
  copy.schedulingGates = now.schedulingGates;
  if (spec.terminationGracePeriodSeconds < 0) copy.terminationGracePeriodSeconds = now.terminationGracePeriodSeconds;
  // While gates hold a pod back, where it may run can still be narrowed.
  if (spec.schedulingGates?.length > 0 || now.schedulingGates?.length > 0) {
    copy.nodeSelector = now.nodeSelector;
    copy.affinity = now.affinity;
  }
  return copy;
}

function validateDeadline(now: number | undefined, old: number | undefined): FieldError[] {
  const field = 'spec.activeDeadlineSeconds';
  if (old == null) return [];
  if (now == null) return [invalidValue(field, null, 'must not update from a positive integer to nil value')];
  if (now > old) return [invalidValue(field, now, `must be less than or equal to previous value`)];
  return [];
}

function validateTolerations(now: any[], old: any[]): FieldError[] {
  const same = (a: any, b: any) =>
    deepEqual({ ...a, tolerationSeconds: undefined }, { ...b, tolerationSeconds: undefined });
  const lost = old.some((one) => !now.some((other) => same(one, other)));
  return lost
    ? [forbiddenField('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')]
    : [];
}

function validateGates(now: any[], old: any[]): FieldError[] {
  const names = new Set(old.map(({ name }) => name));
  const added = now.find(({ name }) => !names.has(name));
  return added
    ? [
        forbiddenField(
          'spec.schedulingGates',
          `only deletion is allowed, but found new scheduling gate '${added.name}'`,
        ),
      ]
    : [];
}

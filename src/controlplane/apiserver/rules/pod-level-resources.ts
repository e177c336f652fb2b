import { canonicalQuantity, compareQuantities, parseQuantity } from '../../../api/index.ts';
import type { FieldError } from '../extension-points.ts';
import { duplicate, forbiddenField, invalidValue, notSupported, required } from './field-errors.ts';
import { podRequests } from './pod-resources.ts';
import { validateResources } from './resources-validation.ts';

const isSupported = (name: string): boolean => name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');

const nano = 1_000_000_000n;
/** An amount as people write it: memory in binary units. */
function show(name: string, value: bigint): string {
  const whole = value / nano;
  if (value % nano !== 0n) return canonicalQuantity(`${value}n`);
  if (name === 'cpu') return canonicalQuantity(String(whole));
  const unit = ['Ti', 'Gi', 'Mi', 'Ki'].findIndex(
    (_, index) => whole > 0n && whole % 1024n ** BigInt(4 - index) === 0n,
  );
  return unit < 0 ? String(whole) : `${whole / 1024n ** BigInt(4 - unit)}${['Ti', 'Gi', 'Mi', 'Ki'][unit]}`;
}

/** Containers together, without what the pod as a whole says. */
const aggregate = (spec: any, which: 'requests' | 'limits' = 'requests'): Map<string, bigint> =>
  podRequests({ ...spec, resources: undefined, overhead: undefined }, which);

/** A pod that limits itself as a whole requests, where it does not say, what its containers request, or its limit. */
export function setPodLevelDefaults(spec: any): void {
  const { resources } = spec;
  if (!resources?.limits || Object.keys(resources.limits).length === 0) return;
  const requests: Record<string, string> = { ...resources.requests };
  try {
    for (const [name, value] of aggregate(spec)) {
      if (requests[name] === undefined && (name === 'cpu' || name === 'memory')) requests[name] = show(name, value);
    }
  } catch {
    // A quantity that cannot be read is named by validation.
  }
  for (const [name, value] of Object.entries<string>(resources.limits)) {
    if (requests[name] === undefined && isSupported(name)) requests[name] = value;
  }
  if (Object.keys(requests).length > 0) resources.requests = requests;
}

/** Validates what a pod as a whole asks for, and that its containers stay within. */
export function validatePodLevelResources(spec: any, field: string): FieldError[] {
  const { resources } = spec;
  if (!resources) return [];
  const errors: FieldError[] = [];
  if (resources.claims)
    errors.push(forbiddenField(`${field}.claims`, 'claims may not be set for Resources at pod-level'));
  for (const which of ['limits', 'requests'] as const) {
    for (const name of Object.keys(resources[which] ?? {})) {
      if (!isSupported(name)) errors.push(notSupported(`${field}.${which}`, name, ['cpu', 'hugepages-*', 'memory']));
    }
  }
  errors.push(...validateResources(resources, field));
  if (errors.length > 0) return errors;
  try {
    return compareWithContainers(spec, field);
  } catch {
    // A container's quantity cannot be read: it is named with the container.
    return [];
  }
}

function compareWithContainers(spec: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const { requests = {}, limits = {} } = spec.resources;
  for (const [name, sum] of aggregate(spec)) {
    if (requests[name] === undefined || sum <= parseQuantity(requests[name])) continue;
    const text = `must be greater than or equal to aggregate container requests of ${show(name, sum)}`;
    errors.push(invalidValue(`${field}.requests[${name}]`, requests[name], text));
  }
  for (const [name, sum] of aggregate(spec, 'limits')) {
    if (!name.startsWith('hugepages-') || limits[name] === undefined || sum <= parseQuantity(limits[name])) continue;
    const text = `must be greater than or equal to aggregate container limits of ${show(name, sum)}`;
    errors.push(invalidValue(`${field}.limits[${name}]`, limits[name], text));
  }
  (spec.containers ?? []).forEach((container: any, index: number) => {
    for (const [name, limit] of Object.entries<string>(container.resources?.limits ?? {})) {
      if (limits[name] === undefined || compareQuantities(limit, limits[name]) <= 0) continue;
      const text = `must be less than or equal to pod limits of ${limits[name]}`;
      errors.push(invalidValue(`${field}.containers[${index}][${name}].limits`, limit, text));
    }
  });
  return errors;
}

/** Validates how a container takes a change of its resources. */
export function validateResizePolicy(policies: readonly any[], field: string, podRestartPolicy: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  policies.forEach(({ resourceName, restartPolicy }, index) => {
    if (seen.has(resourceName)) errors.push(duplicate(`${field}[${index}]`, resourceName));
    seen.add(resourceName);
    if (!resourceName) errors.push(required(field));
    else if (!['cpu', 'memory'].includes(resourceName))
      errors.push(notSupported(field, resourceName, ['cpu', 'memory']));
    if (!restartPolicy) errors.push(required(field));
    else if (!['NotRequired', 'RestartContainer'].includes(restartPolicy))
      errors.push(notSupported(field, restartPolicy, ['NotRequired', 'RestartContainer']));
    else if (podRestartPolicy === 'Never' && restartPolicy !== 'NotRequired') {
      const text = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
      errors.push(invalidValue(field, restartPolicy, text));
    }
  });
  return errors;
}

import { compareQuantities, parseQuantity } from '../../../api/index.ts';
import type { FieldError } from '../extension-points.ts';
import { forbiddenField, invalidValue, required } from './field-errors.ts';
import { checkQualifiedName } from './names.ts';

const standardResources = new Set(['cpu', 'memory', 'ephemeral-storage']);
const isHugePages = (name: string): boolean => name.startsWith('hugepages-');

/** Whether a resource may be given in fractions and overcommitted: the ones that Kubernetes itself knows. */
export const isNativeResource = (name: string): boolean =>
  !name.includes('/') || name.split('/')[0]!.endsWith('kubernetes.io');

/** Validates the name of a resource of a container. */
function checkResourceName(name: string, field: string): FieldError[] {
  const errors = checkQualifiedName(name).map((text) => invalidValue(field, name, text));
  if (errors.length > 0) return errors;
  if (!name.includes('/') && !standardResources.has(name) && !isHugePages(name)) {
    return [invalidValue(field, name, 'must be a standard resource for containers')];
  }
  return [];
}

/** Validates one amount: not negative, whole when it must be. Quantities that cannot be read are named. */
export function validateAmount(name: string, value: unknown, field: string): FieldError[] {
  let amount: bigint;
  try {
    amount = parseQuantity(value as string);
  } catch (error) {
    return [invalidValue(field, value, (error as Error).message)];
  }
  if (amount < 0n) return [invalidValue(field, value, 'must be greater than or equal to 0')];
  if (!isNativeResource(name) && amount % 1_000_000_000n !== 0n) {
    return [invalidValue(field, value, 'must be an integer')];
  }
  return [];
}

/** Validates requests and limits of a container. */
export function validateResources(resources: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const { limits = {}, requests = {} } = resources ?? {};
  for (const [name, value] of Object.entries<string>(limits)) {
    errors.push(...checkResourceName(name, `${field}.limits`));
    errors.push(...validateAmount(name, value, `${field}.limits[${name}]`));
  }
  for (const [name, value] of Object.entries<string>(requests)) {
    const at = `${field}.requests[${name}]`;
    errors.push(...checkResourceName(name, `${field}.requests`));
    const wrong = validateAmount(name, value, at);
    errors.push(...wrong);
    if (wrong.length === 0) errors.push(...compareWithLimit(name, value, limits, field));
  }
  return errors;
}

function compareWithLimit(name: string, request: string, limits: any, field: string): FieldError[] {
  const limit = limits[name];
  const fixed = isHugePages(name) || !isNativeResource(name);
  if (limit === undefined) {
    return fixed ? [required(`${field}.limits`, 'Limit must be set for non overcommitable resources')] : [];
  }
  let order: number;
  try {
    order = compareQuantities(request, limit);
  } catch {
    return [];
  }
  if (fixed && order !== 0) {
    return [invalidValue(`${field}.requests`, request, `must be equal to ${name} limit of ${limit}`)];
  }
  if (order > 0) {
    return [invalidValue(`${field}.requests`, request, `must be less than or equal to ${name} limit of ${limit}`)];
  }
  return [];
}

/** Validates the claims of a container against those of its pod. */
export function validateClaims(resources: any, podClaims: readonly any[], field: string): FieldError[] {
  const names = new Set(podClaims.map(({ name }) => name));
  return (resources?.claims ?? [])
    .map((claim: any, index: number) =>
      names.has(claim.name)
        ? undefined
        : forbiddenField(`${field}.claims[${index}]`, 'must be one of the names in pod.spec.resourceClaims'),
    )
    .filter((one: FieldError | undefined) => one !== undefined);
}

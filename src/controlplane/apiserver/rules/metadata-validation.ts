import type { FieldError } from '../extension-points.ts';
import { invalidValue, required, tooLong } from './field-errors.ts';
import { checkLabelValue, checkQualifiedName, checkSubdomain } from './names.ts';

/** A check of a name: the texts of what is wrong with it. */
export type NameCheck = (name: string) => string[];

const annotationsLimit = 256 * 1024;
const standardFinalizers = new Set(['kubernetes', 'orphan', 'foregroundDeletion']);

/** Validates what every object's metadata must obey. */
export function validateMetadata(metadata: any, checkName: NameCheck): FieldError[] {
  const errors: FieldError[] = [];
  if (!metadata.name) {
    if (!metadata.generateName) errors.push(required('metadata.name', 'name or generateName is required'));
  } else {
    errors.push(...checkName(metadata.name).map((text) => invalidValue('metadata.name', metadata.name, text)));
  }
  if (metadata.labels) errors.push(...validateLabels(metadata.labels, 'metadata.labels'));
  if (metadata.annotations) errors.push(...validateAnnotations(metadata.annotations, 'metadata.annotations'));
  if (metadata.finalizers?.length) errors.push(...validateFinalizers(metadata.finalizers));
  if (metadata.ownerReferences?.length) errors.push(...validateOwners(metadata.ownerReferences));
  return errors;
}

/** Validates the keys and values of labels. */
export function validateLabels(labels: Record<string, string>, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const key in labels) {
    errors.push(...checkQualifiedName(key).map((text) => invalidValue(field, key, text)));
    errors.push(...checkLabelValue(labels[key]!).map((text) => invalidValue(field, labels[key], text)));
  }
  return errors;
}

/** Validates annotations: their keys and their size together. */
export function validateAnnotations(annotations: Record<string, string>, field: string): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const key in annotations) {
    size += Buffer.byteLength(key) + Buffer.byteLength(annotations[key] ?? '');
    errors.push(...checkQualifiedName(key.toLowerCase()).map((text) => invalidValue(field, key, text)));
  }
  if (size > annotationsLimit) errors.push(tooLong(field, annotationsLimit));
  return errors;
}

function validateFinalizers(finalizers: string[]): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of finalizers) {
    errors.push(...checkQualifiedName(name).map((text) => invalidValue('metadata.finalizers', name, text)));
    if (!name.includes('/') && !standardFinalizers.has(name)) {
      const text = 'name is neither a standard finalizer name nor is it fully qualified';
      errors.push(invalidValue('metadata.finalizers', name, text));
    }
  }
  if (finalizers.includes('orphan') && finalizers.includes('foregroundDeletion')) {
    const text = 'finalizer orphan and foregroundDeletion cannot be both set';
    errors.push(invalidValue('metadata.finalizers', finalizers, text));
  }
  return errors;
}

function validateOwners(owners: any[]): FieldError[] {
  const errors: FieldError[] = [];
  let controller: string | undefined;
  owners.forEach((owner, index) => {
    const field = `metadata.ownerReferences[${index}]`;
    const empty = (key: string) => {
      if (!owner[key]) errors.push(invalidValue(`${field}.${key}`, owner[key] ?? '', 'must not be empty'));
    };
    if (!owner.apiVersion) errors.push(invalidValue(`${field}.apiVersion`, '', 'version must not be empty'));
    empty('kind');
    empty('name');
    empty('uid');
    if (!owner.controller) return;
    if (controller !== undefined) {
      const text = `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${owner.kind}/${owner.name}`;
      errors.push(invalidValue('metadata.ownerReferences', owners, text));
    }
    controller = `${owner.kind}/${owner.name}`;
  });
  return errors;
}

/** Validates a LabelSelector object. */
export function validateLabelSelector(selector: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries<string>(selector.matchLabels ?? {})) {
    errors.push(...checkQualifiedName(key).map((text) => invalidValue(`${field}.matchLabels`, key, text)));
    errors.push(...checkLabelValue(value).map((text) => invalidValue(`${field}.matchLabels`, value, text)));
  }
  (selector.matchExpressions ?? []).forEach((expression: any, index: number) => {
    const at = `${field}.matchExpressions[${index}]`;
    errors.push(
      ...checkQualifiedName(expression.key ?? '').map((text) => invalidValue(`${at}.key`, expression.key, text)),
    );
    const count = expression.values?.length ?? 0;
    switch (expression.operator) {
      case 'In':
      case 'NotIn':
        if (count === 0) errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
        break;
      case 'Exists':
      case 'DoesNotExist':
        if (count > 0) {
          const message = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
          errors.push({ field: `${at}.values`, reason: 'FieldValueForbidden', message });
        }
        break;
      default:
        errors.push(invalidValue(`${at}.operator`, expression.operator ?? '', 'not a valid selector operator'));
    }
    (expression.values ?? []).forEach((value: string, at2: number) => {
      errors.push(...checkLabelValue(value).map((text) => invalidValue(`${at}.values[${at2}]`, value, text)));
    });
  });
  return errors;
}

/** Name of most objects. */
export const usualName: NameCheck = checkSubdomain;

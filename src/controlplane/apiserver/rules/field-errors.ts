import type { FieldError } from '../extension-points.ts';

/** Writes a value as upstream shows it in messages: strings quoted, the rest as JSON. */
function show(value: unknown): string {
  return JSON.stringify(value) ?? 'null';
}

/** A field that must be there. */
export function required(field: string, detail = ''): FieldError {
  return { field, reason: 'FieldValueRequired', message: `Required value${detail ? `: ${detail}` : ''}` };
}

/** A field whose value breaks a rule. */
export function invalidValue(field: string, value: unknown, detail: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${show(value)}: ${detail}` };
}

/** A value outside a fixed list. */
export function notSupported(field: string, value: unknown, supported: readonly string[]): FieldError {
  const list = supported.map((one) => `"${one}"`).join(', ');
  return {
    field,
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: ${show(value)}: supported values: ${list}`,
  };
}

/** A value that is in the list already. */
export function duplicate(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${show(value)}` };
}

/** A field that may not be set or changed here. */
export function forbiddenField(field: string, detail: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: `Forbidden: ${detail}` };
}

/** A reference to something that is not in the object. */
export function notFoundValue(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueNotFound', message: `Not found: ${show(value)}` };
}

/** Text beyond its limit. */
export function tooLong(field: string, limit: number): FieldError {
  return { field, reason: 'FieldValueTooLong', message: `Too long: may not be more than ${limit} bytes` };
}

/** A list beyond its limit. */
export function tooMany(field: string, count: number, limit: number): FieldError {
  return {
    field,
    reason: 'FieldValueTooMany',
    message: `Too many: ${count}: must have at most ${limit} item${limit === 1 ? '' : 's'}`,
  };
}

/** The text of a field that may not change. */
export const immutableText = 'field is immutable';

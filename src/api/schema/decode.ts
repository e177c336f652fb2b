import { parseQuantity } from '../quantity.ts';
import { type Shape, type TypeSchema, typeNamed } from './schema.ts';

/** What decoding found besides the object. */
export interface DecodeResult {
  /** Paths of fields that the type does not have; they were dropped. */
  unknown: string[];
}

/** A value of the wrong type; the message is worded as API servers word it. */
export class DecodeTypeError extends Error {}

/**
 * Makes a parsed JSON value an object of the type, in place: drops unknown fields and nulls, and checks every value's type.
 * Quantities given as numbers become text.
 * @throws DecodeTypeError at the first value of a wrong type
 */
export function decodeStructure(object: Record<string, unknown>, typeName: string): DecodeResult {
  const type = typeNamed(typeName);
  const result: DecodeResult = { unknown: [] };
  if (type) decodeObject(object, type, '', '', result);
  return result;
}

/** `path` has list indexes (for unknown fields); `goPath` has not (as type errors are worded). */
function decodeObject(object: any, type: TypeSchema, path: string, goPath: string, result: DecodeResult): void {
  for (const key in object) {
    const field = type.fields.get(key);
    if (!field) {
      result.unknown.push(join(path, key));
      delete object[key];
      continue;
    }
    const value = object[key];
    if (value === null) {
      if (field.shape.kind !== 'any') delete object[key];
      continue;
    }
    const where: Place = { type, key, path, goPath };
    const changed = decodeValue(value, field.shape, where, result);
    if (changed !== value) object[key] = changed;
  }
}

/** Where a value stands; paths are put together only when something is wrong or something is inside. */
interface Place {
  type: TypeSchema;
  key: string;
  path: string;
  goPath: string;
}

function decodeValue(value: any, shape: Shape, where: Place, result: DecodeResult): unknown {
  switch (shape.kind) {
    case 'string':
      if (typeof value !== 'string') throw wrongType(value, 'string', where);
      return value;
    case 'bytes':
      if (typeof value !== 'string') throw wrongType(value, '[]uint8', where);
      if (!/^[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*$/.test(value) || value.replace(/[\r\n]/g, '').length % 4 !== 0) {
        throw new DecodeTypeError(`illegal base64 data at input byte ${badBase64(value)}`);
      }
      return value;
    case 'boolean':
      if (typeof value !== 'boolean') throw wrongType(value, 'bool', where);
      return value;
    case 'integer':
      return checkInteger(value, shape.bits, where);
    case 'number':
      if (typeof value !== 'number') throw wrongType(value, 'float64', where);
      return value;
    case 'any':
      return value;
    case 'anyObject':
      if (typeof value !== 'object' || Array.isArray(value)) throw wrongType(value, 'map[string]interface {}', where);
      return value;
    case 'time':
    case 'microTime':
      return checkTime(value, where);
    case 'quantity':
      return checkQuantity(value);
    case 'intOrString':
      if (typeof value === 'string' || Number.isInteger(value)) return value;
      throw wrongType(value, typeof value === 'number' ? 'int32' : 'string', where);
    case 'object':
    case 'list':
    case 'map':
      return decodeComposite(value, shape, where, result);
  }
}

function decodeComposite(
  value: any,
  shape: Shape & { kind: 'object' | 'list' | 'map' },
  where: Place,
  result: DecodeResult,
): unknown {
  if (typeof value !== 'object' || Array.isArray(value) !== (shape.kind === 'list')) {
    throw wrongType(value, goType(shape), where);
  }
  const path = join(where.path, where.key);
  const goPath = join(where.goPath, where.key);
  if (shape.kind === 'object') {
    const type = typeNamed(shape.name);
    if (type) decodeObject(value, type, path, goPath, result);
    return value;
  }
  if (shape.kind === 'list') {
    for (let i = 0; i < value.length; i++) {
      value[i] =
        value[i] === null
          ? emptyOf(shape.item)
          : decodeInner(value[i], shape.item, `${path}[${i}]`, goPath, where, result);
    }
    return value;
  }
  for (const key in value) {
    value[key] =
      value[key] === null
        ? emptyOf(shape.value)
        : decodeInner(value[key], shape.value, join(path, key), goPath, where, result);
  }
  return value;
}

/** A value inside a list or a map: its path replaces the field's. */
function decodeInner(
  value: any,
  shape: Shape,
  path: string,
  goPath: string,
  where: Place,
  result: DecodeResult,
): unknown {
  if (shape.kind === 'object') {
    const type = typeNamed(shape.name);
    if (typeof value !== 'object' || Array.isArray(value)) throw wrongType(value, goType(shape), where);
    if (type) decodeObject(value, type, path, goPath, result);
    return value;
  }
  return decodeValue(value, shape, where, result);
}

/** What a null means inside a list or a map: the empty value. */
function emptyOf(shape: Shape): unknown {
  switch (shape.kind) {
    case 'string':
    case 'bytes':
      return '';
    case 'quantity':
      return '0';
    case 'boolean':
      return false;
    case 'integer':
    case 'number':
    case 'intOrString':
      return 0;
    case 'list':
      return [];
    case 'object':
    case 'map':
    case 'anyObject':
      return {};
    default:
      return null;
  }
}

function checkInteger(value: any, bits: 32 | 64, where: Place): number {
  if (typeof value !== 'number') throw wrongType(value, `int${bits}`, where);
  const inRange = bits === 32 ? value >= -2147483648 && value <= 2147483647 : Math.abs(value) <= 2 ** 63;
  if (!Number.isInteger(value) || !inRange) throw wrongType(value, `int${bits}`, where, `number ${value}`);
  return value;
}

const timePattern = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/;

function checkTime(value: any, where: Place): string {
  if (typeof value !== 'string') throw wrongType(value, 'string', where);
  if (!timePattern.test(value) || Number.isNaN(Date.parse(value))) {
    throw new DecodeTypeError(
      `parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05Z07:00": cannot parse ${JSON.stringify(value)} as "2006"`,
    );
  }
  return value;
}

function checkQuantity(value: any): string {
  if (typeof value !== 'string' && typeof value !== 'number') {
    throw new DecodeTypeError(
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
  }
  try {
    parseQuantity(value);
  } catch (error) {
    throw new DecodeTypeError((error as Error).message);
  }
  return String(value);
}

function badBase64(text: string): number {
  const at = text.search(/[^A-Za-z0-9+/=\r\n]/);
  return at < 0 ? text.length - (text.length % 4) : at;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** The Go name of a shape, as type errors name it: `v1.PodSpec`, `[]v1.Container`, `map[string]string`. */
function goType(shape: Shape): string {
  switch (shape.kind) {
    case 'object': {
      const [, version = '', name = ''] = shape.name.split('.');
      return `${version}.${name}`;
    }
    case 'list':
      return `[]${goType(shape.item)}`;
    case 'map':
      return `map[string]${goType(shape.value)}`;
    case 'integer':
      return `int${shape.bits}`;
    case 'boolean':
      return 'bool';
    case 'bytes':
      return '[]uint8';
    case 'number':
      return 'float64';
    case 'quantity':
      return 'resource.Quantity';
    case 'time':
      return 'v1.Time';
    case 'microTime':
      return 'v1.MicroTime';
    case 'intOrString':
      return 'intstr.IntOrString';
    default:
      return shape.kind;
  }
}

function jsonKind(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function wrongType(value: unknown, expected: string, where: Place, given = jsonKind(value)): DecodeTypeError {
  const struct = where.type.name.split('.').at(-1);
  return new DecodeTypeError(
    `json: cannot unmarshal ${given} into Go struct field ${struct}.${join(where.goPath, where.key)} of type ${expected}`,
  );
}

/**
 * Strategic merge patch: a merge patch that knows from the types which lists merge, and by which key, and that carries
 * directives (`$patch`, `$retainKeys`, `$setElementOrder/x`, `$deleteFromPrimitiveList/x`).
 */
import { type FieldSchema, type Shape, type TypeSchema, typeNamed } from '../schema/index.ts';
import { deepEqual, setOwn } from './deep-equal.ts';
import { PatchError } from './patch-error.ts';

type JsonObject = Record<string, unknown>;

const setOrder = '$setElementOrder/';
const deleteFrom = '$deleteFromPrimitiveList/';

/**
 * Applies a strategic merge patch to an object of the type; the result shares what did not change with its inputs.
 * @throws PatchError when a directive is malformed or a list item lacks its merge key
 */
export function applyStrategicMergePatch(object: JsonObject, patch: JsonObject, typeName: string): JsonObject {
  return mergeObjects(object, patch, typeNamed(typeName)) ?? {};
}

/** How one field merges; for values of maps only the shape is known. */
interface Merging {
  shape: Shape | undefined;
  mergeKey?: string;
  strategy: readonly string[];
}

function mergingOf(field: FieldSchema | undefined, fallback: Shape | undefined): Merging {
  if (!field) return { shape: fallback, strategy: [] };
  return {
    shape: field.shape,
    strategy: field.patchStrategy,
    ...(field.patchMergeKey ? { mergeKey: field.patchMergeKey } : {}),
  };
}

/** Undefined when the patch deletes the object. `valueShape` is the shape of every value when the object is a map. */
function mergeObjects(
  original: JsonObject | undefined,
  patch: JsonObject,
  type: TypeSchema | undefined,
  valueShape?: Shape,
): JsonObject | undefined {
  const directive = patch['$patch'];
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive === 'delete') return undefined;
  if (directive !== undefined && directive !== 'merge') {
    throw new PatchError('MALFORMED', `unknown patch type found: ${JSON.stringify(directive)}`);
  }
  const result: JsonObject = retainKeys({ ...original }, patch);
  for (const key of Object.keys(patch)) {
    if (key === '$patch' || key === '$retainKeys' || key.startsWith(setOrder) || key.startsWith(deleteFrom)) continue;
    const value = patch[key];
    if (value === null) {
      delete result[key];
      continue;
    }
    const merging = mergingOf(type?.fields.get(key), valueShape);
    const current = Object.hasOwn(result, key) ? result[key] : undefined;
    const merged = mergeValues(current, value, merging, patch[`${setOrder}${key}`]);
    if (merged === undefined) delete result[key];
    else setOwn(result, key, merged);
  }
  applyListDirectives(result, patch, type);
  return result;
}

function retainKeys(result: JsonObject, patch: JsonObject): JsonObject {
  const keep = patch['$retainKeys'];
  if (keep === undefined) return result;
  if (!Array.isArray(keep)) throw new PatchError('MALFORMED', '$retainKeys must be a list');
  for (const key of Object.keys(patch)) {
    if (key !== '$retainKeys' && patch[key] !== null && !keep.includes(key)) {
      throw new PatchError('MALFORMED', `key ${JSON.stringify(key)} is in the patch but not in $retainKeys`);
    }
  }
  for (const key of Object.keys(result)) if (!keep.includes(key)) delete result[key];
  return result;
}

/** Deletions from lists of plain values, and orders of lists that the patch does not otherwise touch. */
function applyListDirectives(result: JsonObject, patch: JsonObject, type: TypeSchema | undefined): void {
  for (const key of Object.keys(patch)) {
    if (key.startsWith(deleteFrom)) {
      const field = key.slice(deleteFrom.length);
      const gone = patch[key];
      const list = result[field];
      if (Array.isArray(list) && Array.isArray(gone)) result[field] = list.filter((one) => !gone.includes(one));
    } else if (key.startsWith(setOrder)) {
      const field = key.slice(setOrder.length);
      const list = result[field];
      if (!Array.isArray(list) || Array.isArray(patch[field])) continue;
      result[field] = orderList(list, list, patch[key], type?.fields.get(field)?.patchMergeKey);
    }
  }
}

function mergeValues(current: unknown, value: unknown, merging: Merging, order: unknown): unknown {
  const { shape } = merging;
  if (Array.isArray(value)) {
    const item = shape?.kind === 'list' ? shape.item : undefined;
    const list = Array.isArray(current) ? current : [];
    if (!merging.strategy.includes('merge')) return value.map((one) => replaceItem(one, item));
    const merged = mergeLists(list, value, merging.mergeKey, item);
    return order === undefined ? merged : orderList(merged, list, order, merging.mergeKey);
  }
  if (isObject(value)) {
    if (merging.strategy.includes('replace')) return withoutDirectives(value);
    return mergeObjects(isObject(current) ? current : undefined, value, ...typeOf(shape));
  }
  return value;
}

/** The type of an object's fields, or the shape of a map's values. */
function typeOf(shape: Shape | undefined): [TypeSchema | undefined, Shape | undefined] {
  if (shape?.kind === 'object') return [typeNamed(shape.name), undefined];
  if (shape?.kind === 'map') return [undefined, shape.value];
  return [undefined, undefined];
}

function replaceItem(item: unknown, shape: Shape | undefined): unknown {
  return isObject(item) ? mergeObjects(undefined, item, ...typeOf(shape)) : item;
}

function mergeLists(
  current: unknown[],
  patch: unknown[],
  mergeKey: string | undefined,
  item: Shape | undefined,
): unknown[] {
  if (patch.some((one) => isObject(one) && one['$patch'] === 'replace')) {
    return patch
      .filter((one) => !(isObject(one) && one['$patch'] === 'replace' && Object.keys(one).length === 1))
      .map((one) => (isObject(one) ? withoutDirectives(one) : one));
  }
  if (mergeKey === undefined || !patch.every(isObject)) {
    return [...current, ...patch.filter((one) => !current.some((known) => deepEqual(known, one)))];
  }
  let result = [...current];
  for (const one of patch as JsonObject[]) {
    if (!Object.hasOwn(one, mergeKey)) {
      throw new PatchError('MALFORMED', `map: ${goMap(one)} does not contain declared merge key: ${mergeKey}`);
    }
    const same = (known: unknown) => isObject(known) && known[mergeKey] === one[mergeKey];
    if (one['$patch'] === 'delete') {
      result = result.filter((known) => !same(known));
      continue;
    }
    const at = result.findIndex(same);
    const merged = mergeObjects(at < 0 ? undefined : (result[at] as JsonObject), one, ...typeOf(item));
    if (at < 0) result.push(merged);
    else result[at] = merged;
  }
  return result;
}

/**
 * Puts the items that `order` names in its order. The others keep their place relative to the items that they followed or
 * preceded in the list as it was.
 */
function orderList(list: unknown[], before: unknown[], order: unknown, mergeKey: string | undefined): unknown[] {
  if (!Array.isArray(order)) throw new PatchError('MALFORMED', '$setElementOrder must be a list');
  const keyOf = (one: unknown): unknown => (mergeKey !== undefined && isObject(one) ? one[mergeKey] : one);
  const wanted = order.map(keyOf);
  const rank = (one: unknown): number => wanted.indexOf(keyOf(one));
  const was = (one: unknown): number => before.findIndex((known) => deepEqual(keyOf(known), keyOf(one)));
  const named = list.filter((one) => rank(one) >= 0).sort((a, b) => rank(a) - rank(b));
  const others = list.filter((one) => rank(one) < 0);
  const result: unknown[] = [];
  while (named.length > 0 && others.length > 0) {
    const next = was(named[0]);
    result.push(next >= 0 && was(others[0]) < next ? others.shift() : named.shift());
  }
  return [...result, ...named, ...others];
}

/** The value that a patch holds when nothing is there to merge with: no directives, no nulls. */
function withoutDirectives(patch: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (key.startsWith('$') || value === null) continue;
    if (isObject(value)) setOwn(result, key, withoutDirectives(value));
    else if (Array.isArray(value)) {
      setOwn(
        result,
        key,
        value.map((one) => (isObject(one) ? withoutDirectives(one) : one)),
      );
    } else setOwn(result, key, value);
  }
  return result;
}

/** A map as Go prints it in messages. */
function goMap(value: JsonObject): string {
  const parts = Object.keys(value)
    .sort()
    .map((key) => `${key}:${isObject(value[key]) ? goMap(value[key]) : String(value[key])}`);
  return `map[${parts.join(' ')}]`;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

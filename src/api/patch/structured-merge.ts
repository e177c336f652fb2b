import { deepCopy, deepEqual, setOwn } from './deep-equal.ts';
import { differenceOf, emptySet, type FieldNode, fieldsOf, isEmptySet, keyOfItem, type Layout } from './field-set.ts';

type JsonObject = Record<string, unknown>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Lays a configuration over an object: fields and items are added or replaced, nothing is taken away. */
export function mergeStructured(live: unknown, config: unknown, layout: Layout): unknown {
  if (layout.kind === 'leaf' || live === undefined || live === null) return deepCopy(config);
  if (layout.kind === 'fields') {
    if (!isObject(live) || !isObject(config)) return deepCopy(config);
    const result: JsonObject = { ...live };
    for (const key of Object.keys(config)) {
      setOwn(
        result,
        key,
        mergeStructured(Object.hasOwn(live, key) ? live[key] : undefined, config[key], layout.of(key)),
      );
    }
    return result;
  }
  if (!Array.isArray(live) || !Array.isArray(config)) return deepCopy(config);
  if (layout.kind === 'set') return [...live, ...config.filter((one) => !live.some((known) => deepEqual(known, one)))];
  const result = [...live];
  const places = new Map(live.map((item, index) => [keyOfItem(item, layout.keys), index]));
  for (const item of config) {
    const place = places.get(keyOfItem(item, layout.keys));
    if (place === undefined) result.push(deepCopy(item));
    else result[place] = mergeStructured(live[place], item, layout.item);
  }
  return result;
}

/** Takes away what is in the set; what the set does not name stays. */
export function removeFields(value: unknown, gone: FieldNode, layout: Layout): unknown {
  if (isEmptySet(gone)) return value;
  if (layout.kind === 'fields' && isObject(value)) {
    const result: JsonObject = { ...value };
    for (const [element, child] of gone.children) {
      const key = element.slice(2);
      if (!Object.hasOwn(result, key)) continue;
      if (child.owned) delete result[key];
      else setOwn(result, key, removeFields(result[key], child, layout.of(key)));
    }
    return result;
  }
  if (layout.kind === 'set' && Array.isArray(value)) {
    return value.filter((item) => !gone.children.has(`v:${JSON.stringify(item)}`));
  }
  if (layout.kind === 'keyed' && Array.isArray(value)) {
    return value.flatMap((item) => {
      const child = gone.children.get(keyOfItem(item, layout.keys));
      if (!child) return [item];
      return child.owned ? [] : [removeFields(item, child, layout.item)];
    });
  }
  return value;
}

/** The fields whose value is not the same in both (or that only one has). */
export function changedFields(before: unknown, now: unknown, layout: Layout): FieldNode {
  if (deepEqual(before, now)) return emptySet();
  if (layout.kind === 'fields' && isObject(before) && isObject(now)) {
    const node = emptySet();
    for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
      const inner = changedFields(before[key], now[key], layout.of(key));
      if (!isEmptySet(inner)) node.children.set(`f:${key}`, inner);
    }
    return node;
  }
  if ((layout.kind === 'keyed' || layout.kind === 'set') && Array.isArray(before) && Array.isArray(now)) {
    return changedItems(before, now, layout);
  }
  if (now === undefined) return whole(fieldsOf(before, layout));
  return before === undefined ? whole(fieldsOf(now, layout)) : { owned: true, children: new Map() };
}

/** A value that came or went counts with everything in it. */
function whole(node: FieldNode): FieldNode {
  return { owned: true, children: node.children };
}

function changedItems(before: unknown[], now: unknown[], layout: Layout & { kind: 'keyed' | 'set' }): FieldNode {
  const node = emptySet();
  const keyOf = (item: unknown) => (layout.kind === 'set' ? `v:${JSON.stringify(item)}` : keyOfItem(item, layout.keys));
  const left = new Map(before.map((item) => [keyOf(item), item]));
  const right = new Map(now.map((item) => [keyOf(item), item]));
  const inner: Layout = layout.kind === 'set' ? { kind: 'leaf' } : layout.item;
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const changed = changedFields(left.get(key), right.get(key), inner);
    if (!isEmptySet(changed)) node.children.set(key, changed);
  }
  return node;
}

/**
 * The fields of a manager that its new configuration no longer has, as far as nobody else owns them or anything in them:
 * what server-side apply takes away.
 */
export function abandonedFields(before: FieldNode, now: FieldNode, others: FieldNode): FieldNode {
  const gone = differenceOf(before, now);
  return withoutShared(gone, now, others);
}

function withoutShared(gone: FieldNode, now: FieldNode | undefined, others: FieldNode | undefined): FieldNode {
  const children = new Map<string, FieldNode>();
  for (const [element, child] of gone.children) {
    const kept = now?.children.get(element);
    const shared = others?.children.get(element);
    const inner = withoutShared(child, kept, shared);
    const owned = child.owned && !kept && !shared;
    if (owned || inner.children.size > 0) children.set(element, { owned, children: inner.children });
  }
  return { owned: false, children };
}

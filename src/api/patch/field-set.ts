/**
 * Sets of fields, as managedFields keeps them (FieldsV1): who owns which part of an object.
 * Path elements are `f:name` (a field or a map's key), `k:{"name":"a"}` (an item of a keyed list), `v:"x"` (an item of a set).
 */
import { type FieldSchema, type Shape, typeNamed } from '../schema/index.ts';

/** A place in an object: owned itself, or holding owned places. */
export interface FieldNode {
  owned: boolean;
  children: Map<string, FieldNode>;
}

/** How a value is taken apart: field by field, item by item, or not at all. */
export type Layout =
  | { kind: 'leaf' }
  | { kind: 'fields'; of(key: string): Layout }
  | { kind: 'keyed'; keys: readonly string[]; item: Layout }
  | { kind: 'set' };

const leaf: Layout = { kind: 'leaf' };

/** Keys of list items that have a default when they are left out. */
const keyDefaults: Record<string, unknown> = { protocol: 'TCP' };

/** The layout of a whole object of the type. */
export function layoutOfType(typeName: string): Layout {
  const type = typeNamed(typeName);
  if (!type || type.mapType === 'atomic') return leaf;
  return {
    kind: 'fields',
    of: (key) => {
      const field = type.fields.get(key);
      return field ? layoutOfField(field) : leaf;
    },
  };
}

function layoutOfField(field: FieldSchema): Layout {
  if (field.mapType === 'atomic') return leaf;
  if (field.shape.kind !== 'list') return layoutOfShape(field.shape);
  if (field.listType === 'set') return { kind: 'set' };
  if (field.listType !== 'map' || !field.listMapKeys) return leaf;
  return { kind: 'keyed', keys: field.listMapKeys, item: layoutOfShape(field.shape.item) };
}

function layoutOfShape(shape: Shape): Layout {
  if (shape.kind === 'object') return layoutOfType(shape.name);
  if (shape.kind !== 'map') return leaf;
  const inner = layoutOfShape(shape.value);
  return { kind: 'fields', of: () => inner };
}

/** An empty set. */
export function emptySet(): FieldNode {
  return { owned: false, children: new Map() };
}

/** The path element of an item of a keyed list. */
export function keyOfItem(item: unknown, keys: readonly string[]): string {
  const object = (typeof item === 'object' && item !== null ? item : {}) as Record<string, unknown>;
  const key: Record<string, unknown> = {};
  for (const name of [...keys].sort()) {
    const value = object[name] ?? keyDefaults[name];
    if (value !== undefined) key[name] = value;
  }
  return `k:${JSON.stringify(key)}`;
}

/** The fields that a value sets. */
export function fieldsOf(value: unknown, layout: Layout): FieldNode {
  if (layout.kind === 'leaf' || typeof value !== 'object' || value === null)
    return { owned: true, children: new Map() };
  const children = new Map<string, FieldNode>();
  if (layout.kind === 'fields') {
    for (const [key, one] of Object.entries(value)) children.set(`f:${key}`, fieldsOf(one, layout.of(key)));
  } else if (Array.isArray(value)) {
    for (const item of value) {
      if (layout.kind === 'set') children.set(`v:${JSON.stringify(item)}`, { owned: true, children: new Map() });
      else {
        const node = fieldsOf(item, layout.item);
        children.set(keyOfItem(item, layout.keys), { owned: true, children: node.children });
      }
    }
  }
  // An empty map or list is owned as a whole.
  return { owned: children.size === 0, children };
}

/** Reads FieldsV1. */
export function parseFieldsV1(fields: unknown): FieldNode {
  const node = emptySet();
  if (typeof fields !== 'object' || fields === null) return node;
  const entries = Object.entries(fields);
  for (const [element, inner] of entries) {
    if (element === '.') continue;
    const child = parseFieldsV1(inner);
    if (child.children.size === 0) child.owned = true;
    node.children.set(element, child);
  }
  node.owned = entries.length === 0 || Object.hasOwn(fields, '.');
  return node;
}

/** Writes FieldsV1. */
export function formatFieldsV1(node: FieldNode): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  if (node.owned && node.children.size > 0) result['.'] = {};
  for (const [element, child] of [...node.children].sort(([a], [b]) => (a < b ? -1 : 1))) {
    result[element] = formatFieldsV1(child);
  }
  return result;
}

/** Whether nothing is owned. */
export function isEmptySet(node: FieldNode): boolean {
  return !node.owned && node.children.size === 0;
}

/** Everything that either owns. */
export function unionOf(a: FieldNode, b: FieldNode): FieldNode {
  const children = new Map(a.children);
  for (const [element, child] of b.children) {
    const known = children.get(element);
    children.set(element, known ? unionOf(known, child) : child);
  }
  return { owned: a.owned || b.owned, children };
}

/** What `a` owns and `b` does not. */
export function differenceOf(a: FieldNode, b: FieldNode): FieldNode {
  const children = new Map<string, FieldNode>();
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    const rest = other ? differenceOf(child, other) : child;
    if (!isEmptySet(rest)) children.set(element, rest);
  }
  return { owned: a.owned && !b.owned, children };
}

/** Paths of everything owned, as messages name them: `.spec.containers[name="a"].image`. */
export function pathsOf(node: FieldNode, prefix = ''): string[] {
  const paths: string[] = node.owned && prefix !== '' ? [prefix] : [];
  for (const [element, child] of node.children) paths.push(...pathsOf(child, prefix + formatElement(element)));
  return paths;
}

function formatElement(element: string): string {
  const rest = element.slice(2);
  if (element.startsWith('f:')) return `.${rest}`;
  if (element.startsWith('v:')) return `[=${rest}]`;
  const keys = Object.entries(JSON.parse(rest) as Record<string, unknown>);
  return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
}

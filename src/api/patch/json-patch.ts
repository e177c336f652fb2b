import { deepCopy, deepEqual, setOwn } from './deep-equal.ts';
import { PatchError } from './patch-error.ts';

/** One step of a JSON patch (RFC 6902). */
export interface JsonPatchOperation {
  op: string;
  path: string;
  from?: string;
  value?: unknown;
}

/** More steps than this are refused, as API servers do. */
const longest = 10_000;

/**
 * Applies a JSON patch (RFC 6902) to a copy of the document.
 * @throws PatchError when a step is malformed, misses its target, or a test fails
 */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw new PatchError('MALFORMED', 'a JSON patch is a list of operations');
  if (patch.length > longest) {
    throw new PatchError(
      'TOO_LARGE',
      `The allowed maximum operations in a JSON patch is ${longest}, got ${patch.length}`,
    );
  }
  const holder = { root: deepCopy(document) };
  for (const operation of patch as JsonPatchOperation[]) applyOperation(holder, operation);
  return holder.root;
}

function applyOperation(holder: { root: unknown }, operation: JsonPatchOperation): void {
  if (typeof operation?.op !== 'string' || typeof operation.path !== 'string') {
    throw new PatchError('MALFORMED', 'an operation needs "op" and "path"');
  }
  const path = parsePointer(operation.path);
  switch (operation.op) {
    case 'add':
      return put(holder, path, requireValue(operation), 'add');
    case 'replace':
      return put(holder, path, requireValue(operation), 'replace');
    case 'remove':
      remove(holder, path, 'remove');
      return;
    case 'move':
      return put(holder, path, remove(holder, parseFrom(operation), 'move'), 'add');
    case 'copy':
      return put(holder, path, deepCopy(read(holder, parseFrom(operation), 'copy')), 'add');
    case 'test': {
      const found = read(holder, path, 'test', true);
      if (!deepEqual(found ?? null, operation.value ?? null)) {
        throw new PatchError('TEST_FAILED', `testing value ${operation.path} failed: test failed`);
      }
      return;
    }
    default:
      throw new PatchError('MALFORMED', `Unexpected kind: ${operation.op}`);
  }
}

function requireValue(operation: JsonPatchOperation): unknown {
  if (operation.value === undefined) throw new PatchError('MALFORMED', `${operation.op} operation needs a "value"`);
  return deepCopy(operation.value);
}

function parseFrom(operation: JsonPatchOperation): string[] {
  if (typeof operation.from !== 'string') throw new PatchError('MALFORMED', `${operation.op} operation needs "from"`);
  return parsePointer(operation.from);
}

/** The parts of a JSON pointer (RFC 6901). */
function parsePointer(text: string): string[] {
  if (text === '') return [];
  if (!text.startsWith('/')) throw new PatchError('MALFORMED', `path ${JSON.stringify(text)} does not begin with "/"`);
  return text
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function missing(op: string, path: readonly string[]): PatchError {
  const pointer = `/${path.join('/')}`;
  return new PatchError('MISSING', `${op} operation does not apply: doc is missing path: ${pointer}: missing value`);
}

/** The list index that a part names; `-` is one past the end where allowed. */
function listIndex(list: unknown[], part: string, past: boolean, op: string, path: readonly string[]): number {
  if (past && part === '-') return list.length;
  const index = /^(?:0|[1-9]\d*)$/.test(part) ? Number(part) : Number.NaN;
  const end = past ? list.length : list.length - 1;
  if (!(index <= end)) throw missing(op, path);
  return index;
}

function parentOf(holder: { root: unknown }, path: readonly string[], op: string): any {
  let node: any = holder.root;
  for (const part of path.slice(0, -1)) {
    const next = Array.isArray(node) ? node[listIndex(node, part, false, op, path)] : own(node, part);
    if (typeof next !== 'object' || next === null) throw missing(op, path);
    node = next;
  }
  if (typeof node !== 'object' || node === null) throw missing(op, path);
  return node;
}

function own(node: any, key: string): unknown {
  return typeof node === 'object' && node !== null && Object.hasOwn(node, key) ? node[key] : undefined;
}

function read(holder: { root: unknown }, path: readonly string[], op: string, lenient = false): unknown {
  if (path.length === 0) return holder.root;
  const parent = parentOf(holder, path, op);
  const last = path.at(-1)!;
  if (Array.isArray(parent)) return parent[listIndex(parent, last, false, op, path)];
  if (!Object.hasOwn(parent, last) && !lenient) throw missing(op, path);
  return own(parent, last);
}

function put(holder: { root: unknown }, path: readonly string[], value: unknown, op: 'add' | 'replace'): void {
  if (path.length === 0) {
    holder.root = value;
    return;
  }
  const parent = parentOf(holder, path, op);
  const last = path.at(-1)!;
  if (Array.isArray(parent)) {
    const index = listIndex(parent, last, op === 'add', op, path);
    parent.splice(index, op === 'replace' ? 1 : 0, value);
    return;
  }
  if (op === 'replace' && !Object.hasOwn(parent, last)) throw missing(op, path);
  setOwn(parent, last, value);
}

function remove(holder: { root: unknown }, path: readonly string[], op: string): unknown {
  if (path.length === 0) throw new PatchError('MALFORMED', 'the whole document cannot be removed');
  const parent = parentOf(holder, path, op);
  const last = path.at(-1)!;
  if (Array.isArray(parent)) return parent.splice(listIndex(parent, last, false, op, path), 1)[0];
  if (!Object.hasOwn(parent, last)) throw missing(op, path);
  const value = parent[last];
  delete parent[last];
  return value;
}

import { closeSync } from 'node:fs';
import { calls } from '../system-calls/index.ts';

/** Numbers that every architecture has in common, since Linux 5.1. */
const systemCalls = { openTree: 428, moveMount: 429, mountSetAttributes: 442 };
const currentDirectory = -100;
const openTreeClone = 1;
const closeOnExec = 0x80000;
const recursive = 0x8000;
const emptyPath = 0x1000;
const moveFromEmptyPath = 4;
const attributeReadOnly = 1n;
const attributeIdMap = 0x100000n;

/** struct mount_attr: what to set, what to clear, the propagation, the user namespace. */
function attributes(set: bigint, userNamespace = 0): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.writeBigUInt64LE(set, 0);
  bytes.writeBigUInt64LE(BigInt(userNamespace), 24);
  return bytes;
}

function cloneTree(source: string, withBelow: boolean): number {
  const flags = openTreeClone | closeOnExec | (withBelow ? recursive : 0);
  return calls.openTree(systemCalls.openTree, currentDirectory, source, flags);
}

function setAttributes(tree: number, bytes: Buffer, withBelow: boolean): void {
  const flags = emptyPath | (withBelow ? recursive : 0);
  calls.mountSetattr(systemCalls.mountSetAttributes, tree, '', flags, bytes, bytes.length);
}

/**
 * Shows a file or directory at another place with its owners translated by a user namespace (a descriptor): what
 * belongs to id 0 on disk belongs to the namespace's root there. `recursive` takes the mounts below along: with their
 * owners translated too, or as they are when one of them is of a file system that knows no such thing.
 * @throws Error with the kernel's code: EINVAL when the file system knows no such mounts
 */
export function mountMapped(
  source: string,
  target: string,
  userNamespace: number,
  options: { recursive?: boolean; readOnly?: boolean } = {},
): void {
  const withBelow = options.recursive ?? false;
  const wanted = attributes(attributeIdMap | (options.readOnly ? attributeReadOnly : 0n), userNamespace);
  const tree = cloneTree(source, withBelow);
  try {
    try {
      setAttributes(tree, wanted, withBelow);
    } catch (cause) {
      if (!withBelow || (cause as { code?: string }).code !== 'EINVAL') throw cause;
      setAttributes(tree, wanted, false);
    }
    calls.moveMount(systemCalls.moveMount, tree, '', currentDirectory, target, moveFromEmptyPath);
  } finally {
    closeSync(tree);
  }
}

/** Whether the file system of a path can be shown with other owners; the reason when it cannot. */
export function idMapProblem(path: string, userNamespace: number): string | undefined {
  try {
    const tree = cloneTree(path, false);
    try {
      setAttributes(tree, attributes(attributeIdMap, userNamespace), false);
      return undefined;
    } finally {
      closeSync(tree);
    }
  } catch (cause) {
    return (cause as Error).message;
  }
}

/** Whether this kernel can make a mount and all below it read-only; the reason when it cannot. */
export function recursiveReadOnlyProblem(path: string): string | undefined {
  try {
    const tree = cloneTree(path, true);
    try {
      setAttributes(tree, attributes(attributeReadOnly), true);
      return undefined;
    } finally {
      closeSync(tree);
    }
  } catch (cause) {
    return (cause as Error).message;
  }
}

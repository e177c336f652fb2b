import { lstatSync } from 'node:fs';
import { fromByteString, toByteString } from './tar-header.ts';

/** A directory whose owner, mode and time come from a layer below the topmost one that has it. */
export interface InheritedDirectory {
  /** Relative to the root, which is ''; a byte string. Parents come before what is in them. */
  path: string;
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970. */
  mtime: number;
}

/**
 * A layer may have `tmp/file` without an entry for `tmp/`: then the directory is as the layers below say, while overlayfs
 * shows it as the topmost layer has it. These are the directories for which that makes a difference.
 */
export function findInheritedDirectories(
  /** The topmost first: where a layer is, and the directories that it has without an entry. */
  layers: readonly { directory: string; implied: readonly string[] }[],
): InheritedDirectory[] {
  const found = new Map<string, InheritedDirectory | undefined>();
  const implied = layers.map((layer) => new Set(layer.implied));
  for (const [at, paths] of implied.entries()) {
    for (const path of paths) {
      // A layer further up has decided.
      if (found.has(path) || layers.slice(0, at).some(({ directory }) => exists(place(directory, path)))) continue;
      found.set(path, findBelow(path, layers, implied, at + 1));
    }
  }
  return [...found.values()]
    .filter((one) => one !== undefined)
    .sort((one, other) => one.path.length - other.path.length);
}

function findBelow(
  path: string,
  layers: readonly { directory: string }[],
  implied: readonly ReadonlySet<string>[],
  from: number,
): InheritedDirectory | undefined {
  for (let at = from; at < layers.length; at++) {
    if (implied[at]!.has(path)) continue;
    let info: ReturnType<typeof lstatSync> | undefined;
    try {
      info = lstatSync(place(layers[at]!.directory, path), { throwIfNoEntry: false });
    } catch {
      // Something above it is no directory there (a whiteout, a file): what is below that does not show.
      return undefined;
    }
    if (!info) continue;
    if (!info.isDirectory()) return undefined;
    return { path, mode: info.mode & 0o7777, uid: info.uid, gid: info.gid, mtime: info.mtimeMs / 1000 };
  }
  return undefined;
}

function place(directory: string, path: string): string | Buffer {
  return fromByteString(`${toByteString(directory)}/${path}`);
}

function exists(path: string | Buffer): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

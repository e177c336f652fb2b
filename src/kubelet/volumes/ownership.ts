import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  lchownSync,
  lstatSync,
  openSync,
  readdirSync,
  type Stats,
} from 'node:fs';
import type { FsGroup } from './plugin.ts';
import { VolumeError } from './volume-error.ts';

/** Modes that fsGroup adds: the group may read and write, directories hand their group on. */
const added = { file: 0o660, directory: 0o2770 };

/** O_PATH: a handle on a place, not on its content. Node does not name it. */
const oPath = 0o10000000;

/** Entries that are done before others get their turn: one takes about ten microseconds. */
const entriesPerTurn = 500;

/**
 * Gives a volume to the pod's fsGroup: owner group, group permissions, set-group-ID on directories.
 * With OnRootMismatch nothing is done when the volume's root is right already.
 *
 * Another pod may write to the volume meanwhile, and put a link to a file of the node where a file was a moment ago.
 * Nothing is therefore changed by its name: each entry is opened without following links, from the handle of its
 * directory, and what is changed is the handle.
 */
export async function applyFsGroup(directory: string, { gid, onRootMismatch }: FsGroup): Promise<void> {
  const root = openSync(directory, oPath | constants.O_DIRECTORY);
  let pending: number[] = [root];
  try {
    const info = fstatSync(root);
    if (onRootMismatch && info.gid === gid && (info.mode & added.directory) === added.directory) return;
    let count = 0;
    for (let handle = pending.pop(); handle !== undefined; handle = pending.pop()) {
      try {
        for (const name of readdirSync(`/proc/self/fd/${handle}`)) {
          const below = ownEntry(`/proc/self/fd/${handle}/${name}`, gid);
          if (below !== undefined) pending.push(below);
          if (++count % entriesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        // After what is in it: with OnRootMismatch a right root says that all of it is right.
        if (handle !== root) own(`/proc/self/fd/${handle}`, fstatSync(handle), gid);
      } finally {
        if (handle !== root) closeSync(handle);
      }
    }
    own(`/proc/self/fd/${root}`, fstatSync(root), gid);
  } catch (cause) {
    throw new VolumeError('FAILED', `cannot give ${directory} to group ${gid}: ${(cause as Error).message}`, { cause });
  } finally {
    for (const handle of pending) if (handle !== root) closeSync(handle);
    pending = [];
    closeSync(root);
  }
}

/** Changes one entry of a directory. Gives the handle of a directory, whose entries are to follow. */
function ownEntry(path: string, gid: number): number | undefined {
  let handle: number;
  try {
    handle = openSync(path, oPath | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let keep = false;
  try {
    const info = fstatSync(handle);
    if (info.isSymbolicLink()) ownLink(path, gid);
    else if (info.isDirectory()) keep = true;
    else own(`/proc/self/fd/${handle}`, info, gid);
    return keep ? handle : undefined;
  } finally {
    if (!keep) closeSync(handle);
  }
}

/** A link itself; the call never follows it, whatever it has become. */
function ownLink(path: string, gid: number): void {
  try {
    const { uid, gid: present } = lstatSync(path);
    if (present !== gid) lchownSync(path, uid, gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function own(handlePath: string, info: Stats, gid: number): void {
  if (info.gid !== gid) chownSync(handlePath, info.uid, gid);
  const mode = (info.mode & 0o7777) | (info.isDirectory() ? added.directory : added.file);
  // A change of owner takes set-ID bits away.
  if ((info.mode & 0o7777) !== mode || info.gid !== gid) chmodSync(handlePath, mode);
}

import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { VolumeError } from './volume-error.ts';

/** Files of a volume by their path inside it. */
export type Payload = Map<string, { data: Buffer; mode: number; uid?: number }>;

/**
 * Replaces the files of a volume all at once. Readers see the old or the new set, never a mixture:
 *
 *   <target>/..payload_abc123/key     the files
 *   <target>/..data -> ..payload_abc123     switched by one rename
 *   <target>/key -> ..data/key     what users read
 *
 * @param gid group that owns the files (fsGroup), or undefined
 * @returns whether anything was written
 */
export async function writeAtomically(target: string, payload: Payload, gid?: number): Promise<boolean> {
  checkPaths(payload);
  const current = await readlink(join(target, '..data')).catch(() => undefined);
  if (current && (await isSame(join(target, current), payload, gid))) return false;
  await removeDrafts(target, current);
  const made = await mkdtemp(join(target, '..payload_'));
  await chmod(made, 0o755);
  for (const [path, { data, mode, uid }] of payload) {
    const file = join(made, path);
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    await writeFile(file, data, { mode });
    await chmod(file, mode);
    if (gid !== undefined || uid !== undefined) await chown(file, uid ?? 0, gid ?? 0);
  }
  const link = join(target, '..data_tmp');
  await rm(link, { force: true });
  await symlink(made.slice(target.length + 1), link);
  await rename(link, join(target, '..data'));
  await linkVisible(target, payload);
  if (current) await rm(join(target, current), { recursive: true, force: true });
  return true;
}

/** Nothing is written outside of the volume, nor where our own names are. @throws VolumeError */
function checkPaths(payload: Payload): void {
  for (const path of payload.keys()) {
    const parts = path.split('/');
    const problem = isAbsolute(path)
      ? 'is absolute'
      : parts.includes('..')
        ? 'leaves the volume'
        : path.startsWith('..')
          ? "begins with '..'"
          : Buffer.byteLength(path) > 4096 || parts.some((part) => Buffer.byteLength(part) > 255)
            ? 'is too long'
            : undefined;
    if (problem) throw new VolumeError('INVALID', `path ${JSON.stringify(path)} ${problem}: choose another`);
  }
}

/** Takes away what a writer that was killed has left. */
async function removeDrafts(target: string, current: string | undefined): Promise<void> {
  for (const name of await readdir(target)) {
    if (name.startsWith('..payload_') && name !== current)
      await rm(join(target, name), { recursive: true, force: true });
  }
}

/** The first parts of the payload's paths are links through ..data; links to what is gone are removed. */
async function linkVisible(target: string, payload: Payload): Promise<void> {
  const wanted = new Set([...payload.keys()].map((path) => path.split('/')[0]!));
  for (const name of wanted) {
    await symlink(join('..data', name), join(target, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  for (const name of await readdir(target)) {
    if (!name.startsWith('..') && !wanted.has(name)) await rm(join(target, name), { recursive: true, force: true });
  }
}

async function isSame(directory: string, payload: Payload, gid?: number): Promise<boolean> {
  const present = (await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])).filter((entry) =>
    entry.isFile(),
  );
  if (present.length !== payload.size) return false;
  for (const [path, { data, mode, uid = 0 }] of payload) {
    const file = join(directory, path);
    const [content, info] = await Promise.all([
      readFile(file).catch(() => undefined),
      lstat(file).catch(() => undefined),
    ]);
    if (
      !content?.equals(data) ||
      !info ||
      (info.mode & 0o7777) !== mode ||
      info.uid !== uid ||
      (gid !== undefined && info.gid !== gid)
    )
      return false;
  }
  return true;
}

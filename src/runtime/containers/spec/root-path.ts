import { lstat, readlink } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { codeOf, RuntimeError } from '../../errors.ts';

const maximumLinks = 40;

/**
 * The path on the host of a path inside a root, with symbolic links followed as a process inside would follow them:
 * none leads out. What does not exist counts as a plain name.
 */
export async function resolveInRoot(root: string, path: string): Promise<string> {
  let rest = normalize(`/${path}`).split('/').filter(Boolean);
  let inside = '/';
  for (let links = 0; rest.length > 0; ) {
    const [step, ...after] = rest as [string, ...string[]];
    const next = step === '..' ? dirname(inside) : join(inside, step);
    const target = step === '..' ? undefined : await linkTarget(join(root, next));
    if (target === undefined) {
      inside = next;
      rest = after;
      continue;
    }
    if (++links > maximumLinks) throw new RuntimeError('INVALID_ARGUMENT', `too many symbolic links in ${path}`);
    if (target.startsWith('/')) inside = '/';
    rest = [...target.split('/').filter((one) => one !== '' && one !== '.'), ...after];
  }
  return join(root, inside);
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined;
  } catch (cause) {
    const code = codeOf(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw cause;
  }
}

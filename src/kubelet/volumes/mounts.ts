import { readFile } from 'node:fs/promises';
import { calls } from '../../host/namespaces/index.ts';

/** Flags of mount(2) and umount2(2). */
const flags = { noSuid: 2, noDev: 4, noExec: 8, bind: 4096, detach: 2, noFollow: 8 };

/** Mounts a tmpfs on a directory. @param sizeBytes 0: the kernel's default, half of the memory */
export function mountTmpfs(target: string, options: { sizeBytes?: number; mode?: number } = {}): void {
  const data = [
    options.sizeBytes ? `size=${options.sizeBytes}` : '',
    options.mode === undefined ? '' : `mode=${options.mode.toString(8)}`,
  ]
    .filter(Boolean)
    .join(',');
  calls.mount('tmpfs', target, 'tmpfs', 0, data);
}

/** Shows a file or directory (a path, also `/proc/self/fd/N`) at another place. */
export function bindMount(source: string, target: string): void {
  calls.mount(source, target, null, flags.bind, null);
}

/** Takes a mount away; one that is in use goes when it no longer is. Not mounted is no error. */
export function unmount(target: string): void {
  try {
    calls.umount2(target, flags.detach | flags.noFollow);
  } catch (error) {
    if (!['EINVAL', 'ENOENT'].includes((error as { code?: string }).code ?? '')) throw error;
  }
}

/** Mount points below a directory (and itself), the deepest first. */
export async function mountsUnder(directory: string): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text
    .split('\n')
    .map((line) => unescapePath(line.split(' ')[4] ?? ''))
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .reverse();
}

/** The kernel writes blanks and backslashes of paths in octal. */
function unescapePath(text: string): string {
  return text.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

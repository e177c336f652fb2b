import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
  symlinkSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { calls } from '../system-calls/index.ts';

/** Flags of mount(2) and umount2(2). */
const flags = { readOnly: 1, noSuid: 2, noDevices: 4, remount: 32, bind: 4096, detach: 2, noFollow: 8 };

/** How a tmpfs is mounted. */
export interface TmpfsOptions extends RootOptions {
  /** Without it the file system may take half of the memory, the kernel's default. */
  sizeBytes?: number;
  mode?: number;
  /** The name that tables of mounts show for its source. Default `tmpfs`. */
  source?: string;
  /** No set-user-id programs and no device files. */
  plainFiles?: boolean;
  /** Its pages never go to swap, where the kernel (6.4) can promise that. */
  noSwap?: boolean;
}

/** Who owns the root of a mounted file system. */
interface RootOptions {
  mode?: number;
  gid?: number;
}

const rootOptions = ({ mode, gid }: RootOptions): string[] => [
  ...(mode === undefined ? [] : [`mode=${mode.toString(8)}`]),
  ...(gid === undefined ? [] : [`gid=${gid}`]),
];

/** Mounts a tmpfs on a directory. */
export function mountTmpfs(target: string, options: TmpfsOptions = {}): void {
  const source = options.source ?? 'tmpfs';
  const flag = options.plainFiles ? flags.noSuid | flags.noDevices : 0;
  const data = [...(options.sizeBytes ? [`size=${options.sizeBytes}`] : []), ...rootOptions(options)];
  try {
    calls.mount(source, target, 'tmpfs', flag, [...data, ...(options.noSwap ? ['noswap'] : [])].join(','));
  } catch (error) {
    if (!options.noSwap || (error as { code?: string }).code !== 'EINVAL') throw error;
    calls.mount(source, target, 'tmpfs', flag, data.join(','));
  }
}

/** Mounts a file system of huge pages of one size. */
export function mountHugePages(target: string, options: RootOptions & { pageSizeBytes: number }): void {
  const data = [`pagesize=${options.pageSizeBytes}`, ...rootOptions(options)];
  calls.mount('nodev', target, 'hugetlbfs', 0, data.join(','));
}

/** Shows a file or directory (a path, also `/proc/self/fd/N`) at another place. */
export function bindMount(source: string, target: string, options: { readOnly?: boolean } = {}): void {
  calls.mount(source, target, null, flags.bind, null);
  if (options.readOnly) calls.mount(null, target, null, flags.bind | flags.remount | flags.readOnly, null);
}

/** What an overlay is made of. */
export interface OverlayOptions {
  /** Read-only layers, the topmost first, all in one directory. */
  lower: readonly string[];
  /** Where changes go; without it the mount is read-only. */
  upper?: string;
  work?: string;
}

/** The kernel takes one page of options. */
const longestOptions = 4000;

/** Mounts an overlay file system. A writable one does not wait for the disk at unmount (`volatile`) where the kernel knows how. */
export function mountOverlay(target: string, options: OverlayOptions): void {
  const direct = options.lower.map(escapePath).join(':');
  if (direct.length < longestOptions - 500) return mountLayers(target, direct, options);
  // Many layers: name them by links in a directory that is open, which is shorter. The kernel follows them once, here.
  const links = mkdtempSync(join(dirname(target), '.layers-'));
  const handle = openSync(links, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    for (const [at, layer] of options.lower.entries()) symlinkSync(layer, join(links, String(at)));
    const short = options.lower.map((_, at) => `/proc/self/fd/${handle}/${at}`).join(':');
    if (short.length > longestOptions - 300)
      throw new Error(`an image of ${options.lower.length} layers has more than can be mounted`);
    mountLayers(target, short, options);
  } finally {
    closeSync(handle);
    rmSync(links, { recursive: true, force: true });
  }
}

/** The kernel takes colons and commas of paths with a backslash before them. */
function escapePath(path: string): string {
  return path.replaceAll(/[\\:,]/g, '\\$&');
}

function mountLayers(target: string, lower: string, { upper, work }: OverlayOptions): void {
  if (!upper) {
    calls.mount('overlay', target, 'overlay', flags.readOnly, `lowerdir=${lower}`);
    return;
  }
  const data = `lowerdir=${lower},upperdir=${escapePath(upper)},workdir=${escapePath(work ?? '')},index=off`;
  try {
    calls.mount('overlay', target, 'overlay', 0, `${data},volatile`);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EINVAL') throw error;
    calls.mount('overlay', target, 'overlay', 0, data);
  }
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
  return mountPoints(await readFile('/proc/self/mountinfo', 'utf8'), directory)
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .reverse();
}

/** Whether something is mounted exactly there. */
export function isMountPoint(path: string): boolean {
  return mountPoints(readFileSync('/proc/self/mountinfo', 'utf8'), path).includes(path);
}

/** The source of what is mounted on a directory (the topmost, if several are); undefined when nothing is, or no directory is there. */
export function mountSource(path: string): string | undefined {
  let real: string;
  try {
    real = realpathSync(path);
  } catch {
    return undefined;
  }
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const line = lines.findLast((one) => unescapePath(one.split(' ')[4] ?? '') === real);
  // After the optional fields and a dash: type, source, options.
  return line === undefined ? undefined : unescapePath(line.split(' - ')[1]?.split(' ')[1] ?? '');
}

const overlayMagic = 0x794c7630;

/** Whether an overlay is mounted there. */
export function isOverlay(path: string): boolean {
  try {
    return statfsSync(path).type === overlayMagic;
  } catch {
    return false;
  }
}

/** The mount points of the lines that name the path at all: there may be thousands of lines, and few that matter. */
function mountPoints(mountinfo: string, path: string): string[] {
  const written = path.replaceAll(/[ \t\n\\]/g, (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, '0')}`);
  if (!mountinfo.includes(written)) return [];
  const lines = mountinfo.split('\n').filter((line) => line.includes(written));
  return lines.map((line) => unescapePath(line.split(' ')[4] ?? ''));
}

/** The kernel writes blanks and backslashes of paths in octal. */
function unescapePath(text: string): string {
  return text.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

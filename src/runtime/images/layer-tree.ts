import { chmodSync, lstatSync, mkdirSync, readlinkSync, rmSync } from 'node:fs';
import { setExtendedAttribute } from '../../host/files/index.ts';
import { ImageError } from './image-error.ts';
import { fromByteString, showByteString, toByteString } from './tar-header.ts';

/** Directories that are known not to be links; more are looked at again. */
const mostKnown = 100_000;

/** The directories of a layer that is being unpacked. All paths are byte strings; nothing leads outside of the root. */
export class LayerTree {
  readonly root: string;
  /** Directories that entries are in but that have no entry themselves, from the root; '' is the root. */
  readonly implied = new Set<string>(['']);
  readonly #onNew: () => void;
  /** Real directories, so that each is looked at only once. */
  readonly #known = new Set<string>();
  #impliedBytes = 0;
  /** Set when a directory went: then what was noted before may be gone. */
  #changed = false;

  constructor(root: string, onNew: () => void) {
    this.root = toByteString(root);
    this.#onNew = onNew;
  }

  /** Makes a directory for an entry, in place of anything else that is there; gives whether it is new. */
  makeDirectory(path: string): boolean {
    this.implied.delete(path.slice(this.root.length + 1));
    if (this.#known.has(path)) return false;
    const real = fromByteString(path);
    const there = lstatSync(real, { throwIfNoEntry: false });
    if (there?.isDirectory()) {
      this.#know(path);
      return false;
    }
    if (there) rmSync(real, { force: true });
    mkdirSync(real);
    // A whiteout was there: what layers below have under this name stays hidden.
    if (there && isWhiteout(there)) this.makeOpaque(path);
    this.#know(path);
    return true;
  }

  /** Hides what the layers below have in a directory. */
  makeOpaque(path: string): void {
    setExtendedAttribute(fromByteString(path), 'trusted.overlay.opaque', Buffer.from('y'));
  }

  /** A directory has gone, with all that was in it. */
  forget(): void {
    this.#known.clear();
    this.#changed = true;
  }

  /** Whether a path that was a directory of this layer still is one, not what a link leads to. */
  isReal(path: string): boolean {
    if (!this.#changed || this.#known.has(path) || path === this.root) return true;
    if (!this.isReal(path.slice(0, path.lastIndexOf('/')))) return false;
    if (!lstatSync(fromByteString(path), { throwIfNoEntry: false })?.isDirectory()) return false;
    this.#know(path);
    return true;
  }

  /** Drops from `implied` what is no longer there. */
  settle(): void {
    for (const one of this.implied)
      if (this.#changed && one !== '' && !this.isReal(`${this.root}/${one}`)) this.implied.delete(one);
  }

  /** The real directory of a path below the root: missing parts are made, links are followed inside the root only. */
  resolve(parts: readonly string[]): string {
    const direct = parts.length === 0 ? this.root : `${this.root}/${parts.join('/')}`;
    if (parts.length === 0 || this.#known.has(direct)) return direct;
    const todo = [...parts];
    let at = this.root;
    for (let links = 0; todo.length > 0; ) {
      const part = todo.shift()!;
      if (part === '..') {
        // Only a link can bring this; the root is its own parent.
        at = at === this.root ? at : at.slice(0, at.lastIndexOf('/'));
        continue;
      }
      const next = `${at}/${part}`;
      if (this.#known.has(next)) {
        at = next;
        continue;
      }
      const real = fromByteString(next);
      const there = lstatSync(real, { throwIfNoEntry: false });
      if (there?.isSymbolicLink()) {
        if (++links > 255) throw unsafe(parts.join('/'));
        const target = readlinkSync(real, 'latin1');
        if (target.startsWith('/')) at = this.root;
        todo.unshift(...target.split('/').filter((one) => one !== '' && one !== '.'));
        continue;
      }
      if (!there || isWhiteout(there)) this.#imply(next, real, there !== undefined);
      else if (!there.isDirectory())
        throw new ImageError(
          'DATA_LOSS',
          `archive puts entries below ${showByteString(parts.join('/'))}, which is no directory`,
        );
      this.#know(next);
      at = next;
    }
    return at;
  }

  #imply(path: string, real: string | Buffer, whitedOut: boolean): void {
    this.#impliedBytes += path.length;
    if (this.#impliedBytes > 64 * 2 ** 20)
      throw new ImageError('RESOURCE_EXHAUSTED', 'layer has too many directories without an entry of their own');
    if (whitedOut) rmSync(real);
    mkdirSync(real);
    chmodSync(real, 0o755);
    if (whitedOut) this.makeOpaque(path);
    this.implied.add(path.slice(this.root.length + 1));
    this.#onNew();
  }

  #know(path: string): void {
    if (this.#known.size >= mostKnown) this.#known.clear();
    this.#known.add(path);
  }
}

function isWhiteout(info: { isCharacterDevice(): boolean; rdev: number }): boolean {
  return info.isCharacterDevice() && info.rdev === 0;
}

/** The parts of an archive's path. @throws ImageError for one that leaves the root */
export function splitPath(path: string): string[] {
  if (path.includes('\0')) throw unsafe(path);
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw unsafe(path);
  return parts;
}

/** An entry that would be outside. */
export function unsafe(path: string): ImageError {
  return new ImageError('INVALID_ARGUMENT', `archive entry ${showByteString(path)} points outside of the image`);
}

/** Beginning of the names that hide what layers below have (OCI image specification, layer.md). */
export const whiteoutPrefix = '.wh.';

/** Whether a path is a mark, and nothing that a layer has. */
export function isMarker(path: string): boolean {
  return path.startsWith(whiteoutPrefix) || path.includes(`/${whiteoutPrefix}`);
}

/** Where a path of a layer really is: links of directories on the way are followed, inside the root only. */
export function locate(directory: string, parts: readonly string[]): string {
  const root = toByteString(directory);
  const todo = parts.slice(0, -1);
  let at = root;
  for (let links = 0; todo.length > 0; ) {
    const part = todo.shift()!;
    if (part === '..') {
      at = at === root ? at : at.slice(0, at.lastIndexOf('/'));
      continue;
    }
    const next = `${at}/${part}`;
    const real = fromByteString(next);
    if (!lstatSync(real, { throwIfNoEntry: false })?.isSymbolicLink()) {
      at = next;
      continue;
    }
    if (++links > 255) throw unsafe(parts.join('/'));
    const target = readlinkSync(real, 'latin1');
    if (target.startsWith('/')) at = root;
    todo.unshift(...target.split('/').filter((one) => one !== '' && one !== '.'));
  }
  return `${at}/${parts.at(-1) ?? ''}`;
}

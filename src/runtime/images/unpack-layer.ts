import {
  chmodSync,
  closeSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { makeSpecialFile, setExtendedAttribute } from '../../host/files/index.ts';
import { ImageError } from './image-error.ts';
import { type TarEntry, TarReader } from './tar-reader.ts';

/** What a layer takes on disk. */
export interface LayerUsage {
  bytes: number;
  inodes: number;
}

/** What was found in a layer. */
export interface UnpackedLayer extends LayerUsage {
  /** Directories that its entries are in but that have no entry themselves; '' is the root. */
  implied: string[];
}

/** Bounds of what is unpacked. */
export interface UnpackLimits {
  /** Largest sum of file sizes, bytes. */
  maximumBytes: number;
  /** Largest count of entries. */
  maximumEntries: number;
}

const whiteoutPrefix = '.wh.';
const opaqueName = '.wh..wh..opq';

/**
 * Unpacks a layer into an empty directory, in the form that overlayfs takes: a whiteout (`.wh.NAME`, OCI image
 * specification, layer.md) becomes a character device 0/0, an opaque directory gets the attribute trusted.overlay.opaque.
 * Nothing is written outside of the directory, whatever names and links the archive holds.
 *
 * File operations are synchronous: each takes microseconds, a round through the thread pool many times that, and
 * between pieces of the stream the event loop goes on.
 */
export async function unpackLayer(
  stream: AsyncIterable<Uint8Array>,
  directory: string,
  limits: UnpackLimits,
): Promise<UnpackedLayer> {
  const unpacker = new Unpacker(directory, limits);
  const reader = new TarReader(stream);
  try {
    for (let entry = await reader.next(); entry; entry = await reader.next()) await unpacker.add(entry, reader);
    await reader.drain();
  } finally {
    await reader.close();
  }
  unpacker.finish();
  return { ...unpacker.usage, implied: [...unpacker.implied] };
}

class Unpacker {
  readonly usage: LayerUsage = { bytes: 0, inodes: 0 };
  readonly implied = new Set<string>(['']);
  readonly #root: string;
  readonly #limits: UnpackLimits;
  /** Real directories below the root, so that each is looked at only once. */
  readonly #directories = new Set<string>();
  /** Times of directories are set last, because filling one changes it. */
  readonly #times: { path: string; mtime: number }[] = [];

  constructor(root: string, limits: UnpackLimits) {
    this.#root = root;
    this.#limits = limits;
    this.#directories.add(root);
  }

  async add(entry: TarEntry, reader: TarReader): Promise<void> {
    if (++this.usage.inodes > this.#limits.maximumEntries)
      throw tooLarge(`more than ${this.#limits.maximumEntries} entries`);
    const parts = splitPath(entry.path);
    const name = parts.pop();
    if (name === undefined) {
      if (entry.kind !== 'directory') return;
      this.implied.delete('');
      return this.#setAttributes(this.#root, entry);
    }
    const parent = this.#resolve(parts);
    if (name === opaqueName) return setExtendedAttribute(parent, 'trusted.overlay.opaque', Buffer.from('y'));
    const whiteout = name.startsWith(whiteoutPrefix);
    const path = join(parent, whiteout ? name.slice(whiteoutPrefix.length) : name);
    if (whiteout && ['', '.', '..'].includes(name.slice(whiteoutPrefix.length))) throw unsafe(entry.path);
    this.#makeRoom(path, entry.kind === 'directory' && !whiteout);
    if (whiteout) return makeSpecialFile(path, 'character', 0);
    await this.#make(path, entry, reader);
    if (entry.kind !== 'hardlink') this.#setAttributes(path, entry);
  }

  finish(): void {
    for (const { path, mtime } of this.#times.reverse()) lutimesSync(path, mtime, mtime);
  }

  async #make(path: string, entry: TarEntry, reader: TarReader): Promise<void> {
    switch (entry.kind) {
      case 'file':
        return this.#writeFile(path, entry, reader);
      case 'directory':
        if (!this.#directories.has(path)) mkdirSync(path, { recursive: true });
        this.#directories.add(path);
        this.implied.delete(relative(this.#root, path));
        return;
      case 'symlink':
        return symlinkSync(entry.linkPath, path);
      case 'hardlink': {
        const target = splitPath(entry.linkPath);
        const name = target.pop();
        if (name === undefined) throw unsafe(entry.linkPath);
        return linkSync(join(this.#resolve(target), name), path);
      }
      default:
        return makeSpecialFile(path, entry.kind, entry.mode, entry.major, entry.minor);
    }
  }

  async #writeFile(path: string, entry: TarEntry, reader: TarReader): Promise<void> {
    this.usage.bytes += entry.size;
    if (this.usage.bytes > this.#limits.maximumBytes) throw tooLarge(`more than ${this.#limits.maximumBytes} bytes`);
    const file = openSync(path, 'wx', 0o600);
    try {
      for await (const piece of reader.content()) {
        for (let written = 0; written < piece.length; ) written += writeSync(file, piece, written);
      }
    } finally {
      closeSync(file);
    }
  }

  /** Takes away what stands where an entry goes; a directory stays for a directory. */
  #makeRoom(path: string, forDirectory: boolean): void {
    const there = lstatSync(path, { throwIfNoEntry: false });
    if (!there || (forDirectory && there.isDirectory())) return;
    rmSync(path, { recursive: true, force: true });
    if (!there.isDirectory()) return;
    for (const known of this.#directories) {
      if (known !== path && !known.startsWith(`${path}/`)) continue;
      this.#directories.delete(known);
      this.implied.delete(relative(this.#root, known));
    }
  }

  #setAttributes(path: string, entry: TarEntry): void {
    lchownSync(path, entry.uid, entry.gid);
    // Changing the owner drops set-user-ID bits and capabilities: they come after it.
    if (entry.kind !== 'symlink') chmodSync(path, entry.mode);
    for (const [name, value] of entry.attributes) {
      if (!name.startsWith('trusted.overlay.')) setAttribute(path, name, value);
    }
    if (entry.kind === 'directory') this.#times.push({ path, mtime: entry.mtime });
    else lutimesSync(path, entry.mtime, entry.mtime);
  }

  /** The real directory of a path below the root: missing parts are made, links are followed inside the root only. */
  #resolve(parts: readonly string[]): string {
    const todo = [...parts];
    let at = this.#root;
    for (let links = 0; todo.length > 0; ) {
      const part = todo.shift()!;
      if (part === '..') {
        // Only a link can bring this; the root is its own parent.
        at = at === this.#root ? at : join(at, '..');
        continue;
      }
      const next = join(at, part);
      if (!this.#directories.has(next)) {
        const there = lstatSync(next, { throwIfNoEntry: false });
        if (there?.isSymbolicLink()) {
          if (++links > 255) throw unsafe(parts.join('/'));
          const target = readlinkSync(next);
          if (target.startsWith('/')) at = this.#root;
          todo.unshift(...target.split('/').filter((one) => one !== '' && one !== '.'));
          continue;
        }
        if (!there) {
          mkdirSync(next);
          chmodSync(next, 0o755);
          this.implied.add(relative(this.#root, next));
        } else if (!there.isDirectory())
          throw new ImageError(
            'DATA_LOSS',
            `archive puts entries below ${JSON.stringify(parts.join('/'))}, which is no directory`,
          );
        this.#directories.add(next);
      }
      at = next;
    }
    return at;
  }
}

/** Sets an attribute; one that the file system or the security module here does not have is left out, as others do. */
function setAttribute(path: string, name: string, value: Buffer): void {
  try {
    setExtendedAttribute(path, name, value);
  } catch (error) {
    const { code } = error as { code?: string };
    // User attributes exist on files and directories only (EPERM on the others).
    if (code === 'ENOTSUP' || code === 'EOPNOTSUPP' || (code === 'EPERM' && name.startsWith('user.'))) return;
    throw error;
  }
}

/** The parts of an archive's path. @throws ImageError for one that leaves the root */
function splitPath(path: string): string[] {
  if (path.includes('\0')) throw unsafe(path);
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw unsafe(path);
  return parts;
}

function unsafe(path: string): ImageError {
  return new ImageError('INVALID_ARGUMENT', `archive entry ${JSON.stringify(path)} points outside of the image`);
}

function tooLarge(what: string): ImageError {
  return new ImageError('RESOURCE_EXHAUSTED', `layer has ${what}, which is over the limit`);
}

import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  openSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { makeSpecialFile, setExtendedAttribute } from '../../host/files/index.ts';
import { ImageError } from './image-error.ts';
import { LayerTree, splitPath, unsafe, whiteoutPrefix } from './layer-tree.ts';
import { fromByteString, showByteString } from './tar-header.ts';
import { type TarEntry, TarReader } from './tar-reader.ts';

/** What a layer takes on disk. */
export interface LayerUsage {
  bytes: number;
  inodes: number;
}

/** What was found in a layer. */
export interface UnpackedLayer extends LayerUsage {
  /** Directories that its entries are in but that have no entry themselves; '' is the root. Byte strings. */
  implied: string[];
}

/** Bounds of what is unpacked. */
export interface UnpackLimits {
  /** Largest sum of file sizes, and of the archive, bytes. */
  maximumBytes: number;
  /** Largest count of entries. */
  maximumEntries: number;
}

/** Gets the archive without its files, to write it again one day. */
export interface RestSink {
  add(bytes: Buffer): void;
  readonly isFull: boolean;
  drained(): Promise<void>;
}

const opaqueName = '.wh..wh..opq';
/** What AUFS kept for itself; no part of an image. */
const metadataPrefix = '.wh..wh.';
/** What file systems give space out by, bytes. */
const unit = 4096;
/** Entries between two breaths: a millisecond or less. */
const entriesAtOnce = 16;
/** Bytes of directory names that are kept in mind until their times can be set. */
const mostNameBytes = 256 * 2 ** 20;

/**
 * Unpacks a layer into an empty directory, in the form that overlayfs takes: a whiteout (`.wh.NAME`, OCI image
 * specification, layer.md) becomes a character device 0/0, an opaque directory gets the attribute trusted.overlay.opaque.
 * A whiteout hides what layers below have, never what its own layer has, wherever in the layer it stands.
 * `rest` gets all of the archive but the content of files; `breathe` is awaited now and then, to let others go on.
 * Nothing is written outside of the directory, whatever names and links the archive holds.
 *
 * File operations are synchronous: each takes microseconds, a round through the thread pool many times that. Large
 * layers are unpacked in a thread of their own.
 */
export async function unpackLayer(
  stream: AsyncIterable<Uint8Array>,
  directory: string,
  limits: UnpackLimits,
  options: { rest?: RestSink; breathe?: () => Promise<void> } = {},
): Promise<UnpackedLayer> {
  const { rest, breathe } = options;
  const unpacker = new Unpacker(directory, limits);
  const reader = new TarReader(stream, rest ? { onRest: (bytes) => rest.add(bytes) } : {});
  try {
    for (let count = 1, entry = await reader.next(); entry; count++, entry = await reader.next()) {
      await unpacker.add(entry, reader);
      if (breathe && count % entriesAtOnce === 0) await breathe();
      if (rest?.isFull) await rest.drained();
    }
    await reader.drain();
  } finally {
    await reader.close();
  }
  unpacker.finish();
  return { ...unpacker.usage, implied: [...unpacker.tree.implied] };
}

class Unpacker {
  readonly usage: LayerUsage = { bytes: unit, inodes: 1 };
  readonly tree: LayerTree;
  readonly #limits: UnpackLimits;
  /** Times of directories are set last, because filling one changes it. */
  readonly #times: { path: string; mtime: number }[] = [];
  #nameBytes = 0;
  #entries = 0;
  #size = 0;

  constructor(root: string, limits: UnpackLimits) {
    this.#limits = limits;
    this.tree = new LayerTree(root, () => this.#count(unit));
  }

  async add(entry: TarEntry, reader: TarReader): Promise<void> {
    if (++this.#entries > this.#limits.maximumEntries)
      throw tooLarge(`more than ${this.#limits.maximumEntries} entries`);
    try {
      await this.#add(entry, reader);
    } catch (error) {
      throw explain(error, entry);
    }
  }

  finish(): void {
    this.tree.settle();
    // A later entry may have taken a directory's place, with a link even that leads out of the layer.
    for (const { path, mtime } of this.#times.reverse())
      if (this.tree.isReal(path)) setTime(fromByteString(path), mtime);
  }

  async #add(entry: TarEntry, reader: TarReader): Promise<void> {
    const parts = splitPath(entry.path);
    if (parts.some((part) => part.startsWith(metadataPrefix) && part !== opaqueName)) return;
    const name = parts.pop();
    if (name === undefined) {
      if (entry.kind !== 'directory') return;
      this.tree.implied.delete('');
      return this.#setAttributes(this.tree.root, entry);
    }
    const parent = this.tree.resolve(parts);
    if (name === opaqueName) return this.tree.makeOpaque(parent);
    if (name.startsWith(whiteoutPrefix)) return this.#whiteOut(parent, name.slice(whiteoutPrefix.length), entry);
    const path = `${parent}/${name}`;
    switch (entry.kind) {
      case 'file':
        return this.#writeFile(path, entry, reader);
      case 'directory':
        if (this.tree.makeDirectory(path)) this.#count(unit);
        break;
      case 'symlink':
        this.#place(path, (real) => symlinkSync(fromByteString(entry.linkPath), real));
        this.#count(entry.linkPath.length < 60 ? 0 : unit);
        break;
      case 'hardlink':
        return this.#link(path, entry);
      default: {
        const { kind, mode, major, minor } = entry;
        this.#place(path, (real) => makeSpecialFile(real, kind, mode, major, minor));
        this.#count(0);
      }
    }
    this.#setAttributes(path, entry);
  }

  #whiteOut(parent: string, name: string, entry: TarEntry): void {
    if (['', '.', '..'].includes(name)) throw unsafe(entry.path);
    const path = `${parent}/${name}`;
    try {
      makeSpecialFile(fromByteString(path), 'character', 0);
      this.#count(0);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
      // This layer has something of that name: that stays, and nothing of the layers below shows in it.
      if (lstatSync(fromByteString(path)).isDirectory()) this.tree.makeOpaque(path);
    }
  }

  #link(path: string, entry: TarEntry): void {
    const target = splitPath(entry.linkPath);
    const name = target.pop();
    if (name === undefined) throw unsafe(entry.linkPath);
    const from = `${this.tree.resolve(target)}/${name}`;
    if (from === path) return;
    this.#place(path, (real) => linkSync(fromByteString(from), real));
  }

  async #writeFile(path: string, entry: TarEntry, reader: TarReader): Promise<void> {
    const pieces = entry.segments ?? [{ offset: 0, length: entry.size }];
    for (const { length } of pieces) this.#size += length;
    if (this.#size > this.#limits.maximumBytes) throw tooLarge(`more than ${this.#limits.maximumBytes} bytes`);
    const file = this.#place(path, (real) => openSync(real, 'wx', 0o600));
    try {
      const writer = new SegmentWriter(file, pieces);
      const whole = reader.contentAtOnce();
      if (whole) writer.write(whole);
      else for await (const piece of reader.content()) writer.write(piece);
      if (entry.segments) ftruncateSync(file, entry.size);
      for (const { length } of pieces) this.usage.bytes += Math.ceil(length / unit) * unit;
      this.#count(0);
      fchownSync(file, entry.uid, entry.gid);
      // Changing the owner drops set-user-ID bits and capabilities: they come after it.
      fchmodSync(file, entry.mode);
      this.#setExtended(path, entry);
      setTime(file, entry.mtime);
    } finally {
      closeSync(file);
    }
  }

  /** Makes something, taking away what stands in its place. */
  #place<T>(path: string, make: (real: string | Buffer) => T): T {
    const real = fromByteString(path);
    try {
      return make(real);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    }
    const there = lstatSync(real);
    this.usage.inodes -= there.nlink > 1 ? 0 : 1;
    this.usage.bytes -= there.isFile() && there.nlink === 1 ? there.blocks * 512 : 0;
    rmSync(real, { recursive: true, force: true });
    if (there.isDirectory()) this.tree.forget();
    return make(real);
  }

  #setAttributes(path: string, entry: TarEntry): void {
    const real = fromByteString(path);
    lchownSync(real, entry.uid, entry.gid);
    if (entry.kind !== 'symlink') chmodSync(real, entry.mode);
    this.#setExtended(path, entry);
    if (entry.kind !== 'directory') return setTime(real, entry.mtime);
    this.#nameBytes += path.length;
    if (this.#nameBytes > mostNameBytes) throw tooLarge('more names of directories than can be kept in mind');
    this.#times.push({ path, mtime: entry.mtime });
  }

  #setExtended(path: string, entry: TarEntry): void {
    for (const [name, value] of entry.attributes) {
      if (!name.startsWith('trusted.overlay.')) setAttribute(fromByteString(path), name, value);
    }
  }

  #count(bytes: number): void {
    this.usage.inodes++;
    this.usage.bytes += bytes;
  }
}

/** Sets the times of an open file, or of what a path names itself. Seconds since 1970. */
function setTime(place: number | string | Buffer, seconds: number): void {
  // A negative number would be the present to Node.
  const time = seconds < 0 ? new Date(seconds * 1000) : seconds;
  if (typeof place === 'number') futimesSync(place, time, time);
  else lutimesSync(place, time, time);
}

/** Writes content into the pieces of a file that have any. */
class SegmentWriter {
  readonly #file: number;
  readonly #segments: readonly { offset: number; length: number }[];
  #at = 0;
  #within = 0;

  constructor(file: number, segments: readonly { offset: number; length: number }[]) {
    this.#file = file;
    this.#segments = segments;
  }

  write(piece: Buffer): void {
    for (let done = 0; done < piece.length; ) {
      while (this.#within === this.#segments[this.#at]!.length) {
        this.#at++;
        this.#within = 0;
      }
      const { offset, length } = this.#segments[this.#at]!;
      const step = Math.min(length - this.#within, piece.length - done);
      const written = writeSync(this.#file, piece, done, step, offset + this.#within);
      done += written;
      this.#within += written;
    }
  }
}

/** Sets an attribute; one that the file system or the security module here does not have is left out, as others do. */
function setAttribute(path: string | Buffer, name: string, value: Buffer): void {
  try {
    setExtendedAttribute(path, name, value);
  } catch (error) {
    const { code } = error as { code?: string };
    // User attributes exist on files and directories only (EPERM on the others).
    if (code === 'ENOTSUP' || code === 'EOPNOTSUPP' || (code === 'EPERM' && name.startsWith('user.'))) return;
    throw error;
  }
}

/** What the kernel refused, said of the entry; a full disk stays what it is. */
function explain(error: unknown, entry: TarEntry): unknown {
  const { code, message } = error as { code?: string; message?: string };
  if (error instanceof ImageError || !code) return error;
  const where = `archive entry ${showByteString(entry.path)}`;
  switch (code) {
    case 'EPERM':
      if (entry.kind === 'character' || entry.kind === 'block')
        return new ImageError('INVALID_ARGUMENT', `${where} is a device, which may not be made here (CAP_MKNOD)`);
      return new ImageError('INVALID_ARGUMENT', `${where} cannot be made: ${message}`, { cause: error });
    case 'ENOENT':
    case 'EEXIST':
    case 'ELOOP':
    case 'ENOTDIR':
    case 'EISDIR':
    case 'EINVAL':
    case 'EMLINK':
    case 'EXDEV':
    case 'ENAMETOOLONG':
    case 'EFBIG':
    case 'ERR_INVALID_ARG_VALUE':
      return new ImageError('INVALID_ARGUMENT', `${where} cannot be made: ${message}`, { cause: error });
    default:
      return error;
  }
}

function tooLarge(what: string): ImageError {
  return new ImageError('RESOURCE_EXHAUSTED', `layer has ${what}, which is over the limit`);
}

import { createReadStream } from 'node:fs';

/** One entry of an archive. Paths are relative, without `./` and without a slash at the end. */
export type TarEntry = { path: string; mode: number } & (
  | { kind: 'directory' }
  | { kind: 'link'; target: string }
  | { kind: 'bytes'; content: Buffer }
  /** The first `size` bytes of a file of this machine, with some of them replaced. */
  | { kind: 'file'; source: string; size: number; patches?: readonly { at: number; bytes: Buffer }[] }
);

const block = 512;

/**
 * A tar archive (ustar, POSIX.1-1988) in pieces. Whoever builds it and whenever, the same entries give the same bytes:
 * everything belongs to root and is as old as the epoch, and nothing else of the file system gets in.
 */
export async function* writeTar(entries: Iterable<TarEntry>): AsyncGenerator<Buffer> {
  for (const entry of entries) {
    yield tarHeader(entry);
    if (entry.kind === 'bytes') {
      yield entry.content;
      yield padding(entry.content.length);
    } else if (entry.kind === 'file') {
      yield* readPatched(entry);
      yield padding(entry.size);
    }
  }
  yield Buffer.alloc(2 * block);
}

async function* readPatched(entry: TarEntry & { kind: 'file' }): AsyncGenerator<Buffer> {
  if (entry.size === 0) return;
  let at = 0;
  for await (const piece of createReadStream(entry.source, { end: entry.size - 1, highWaterMark: 1 << 20 })) {
    const bytes = piece as Buffer;
    for (const patch of entry.patches ?? [])
      for (let index = 0; index < patch.bytes.length; index++) {
        const place = patch.at + index - at;
        if (place >= 0 && place < bytes.length) bytes[place] = patch.bytes[index]!;
      }
    at += bytes.length;
    yield bytes;
  }
  if (at !== entry.size)
    throw new Error(`${entry.source} has ${at} bytes in place of ${entry.size}: it has just changed`);
}

/** How many bytes of content an entry has. */
function sizeOf(entry: TarEntry): number {
  if (entry.kind === 'bytes') return entry.content.length;
  return entry.kind === 'file' ? entry.size : 0;
}

const types = { directory: '5', link: '2', bytes: '0', file: '0' } as const;

/** The header of an entry. @throws RangeError for a path or link that ustar has no room for */
export function tarHeader(entry: TarEntry): Buffer {
  const header = Buffer.alloc(block);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  const [prefix, name] = splitPath(entry.kind === 'directory' ? `${entry.path}/` : entry.path);
  header.write(name, 0, 100);
  octal(entry.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(sizeOf(entry), 124, 12);
  octal(0, 136, 12);
  header.write(types[entry.kind], 156, 'latin1');
  if (entry.kind === 'link') {
    if (Buffer.byteLength(entry.target) > 100)
      throw new RangeError(`the link ${entry.path} leads too far for an archive`);
    header.write(entry.target, 157, 100);
  }
  header.write('ustar\x0000', 257, 'latin1');
  header.write(prefix, 345, 155);
  header.fill(0x20, 148, 156);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** ustar keeps long paths in two fields, cut at a slash. */
function splitPath(path: string): [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= 100) return ['', path];
  for (let at = path.indexOf('/'); at >= 0 && at < path.length - 1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155) return [prefix, name];
  }
  throw new RangeError(`the path ${path} is too long for an archive`);
}

function padding(length: number): Buffer {
  return Buffer.alloc((block - (length % block)) % block);
}

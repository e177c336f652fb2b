import { type FileHandle, open } from 'node:fs/promises';
import { ImageBuildError } from './image-build-error.ts';

/** What an ELF file (System V ABI; 64 bits, little-endian) says of what it needs. */
export interface ElfFile {
  /** The program that loads it, as `/lib64/ld-linux-x86-64.so.2`; undefined for a library or a static program. */
  interpreter: string | undefined;
  /** Names of the libraries it is linked with. */
  needed: string[];
  /** Where it looks for them first, as written, unless the system knows better. */
  runPath: string[];
  /**
   * How many bytes of it are loaded. What comes after (symbols, debugging information) is for tools only; a file that
   * ends here runs the same once its header says that there are no sections, which is what `patches` do.
   */
  loadedBytes: number;
  patches: { at: number; bytes: Buffer }[];
}

const types = { load: 1, dynamic: 2, interpreter: 3 };
const tags = { end: 0, needed: 1, stringTable: 5, runPath: 29, oldRunPath: 15 };

interface Segment {
  type: number;
  offset: number;
  address: number;
  fileBytes: number;
}

/** Reads an ELF file. @throws ImageBuildError BAD_PROGRAM when it is none that this machine could run */
export async function readElf(path: string): Promise<ElfFile> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw new ImageBuildError('BAD_PROGRAM', path, `cannot be read (${cause.code})`, { cause });
  });
  try {
    return await parseElf(path, file);
  } finally {
    await file.close();
  }
}

async function parseElf(path: string, file: FileHandle): Promise<ElfFile> {
  const header = await read(file, 0, 64);
  const isElf = header.length === 64 && header.readUInt32BE(0) === 0x7f454c46;
  if (!isElf || header[4] !== 2 || header[5] !== 1)
    throw new ImageBuildError('BAD_PROGRAM', path, 'is no program for a 64-bit little-endian machine');
  const segments = await readSegments(file, header);
  const interpreter = segments.find(({ type }) => type === types.interpreter);
  const { needed, runPath } = await readDynamic(file, segments);
  const table = Number(header.readBigUInt64LE(32)) + header.readUInt16LE(54) * header.readUInt16LE(56);
  return {
    interpreter: interpreter && text(await read(file, interpreter.offset, interpreter.fileBytes), 0),
    needed,
    runPath,
    loadedBytes: Math.max(table, ...segments.map(({ offset, fileBytes }) => offset + fileBytes)),
    patches: [
      { at: 40, bytes: Buffer.alloc(8) },
      { at: 60, bytes: Buffer.alloc(4) },
    ],
  };
}

async function readSegments(file: FileHandle, header: Buffer): Promise<Segment[]> {
  const [at, size, count] = [Number(header.readBigUInt64LE(32)), header.readUInt16LE(54), header.readUInt16LE(56)];
  const table = await read(file, at, size * count);
  const number = (place: number) => Number(table.readBigUInt64LE(place));
  return Array.from({ length: count }, (_, index) => index * size).map((place) => ({
    type: table.readUInt32LE(place),
    offset: number(place + 8),
    address: number(place + 16),
    fileBytes: number(place + 32),
  }));
}

async function readDynamic(
  file: FileHandle,
  segments: readonly Segment[],
): Promise<{ needed: string[]; runPath: string[] }> {
  const dynamic = segments.find(({ type }) => type === types.dynamic);
  if (!dynamic) return { needed: [], runPath: [] };
  const table = await read(file, dynamic.offset, dynamic.fileBytes);
  const entries: { tag: number; value: number }[] = [];
  for (let at = 0; at + 16 <= table.length; at += 16) {
    const entry = { tag: Number(table.readBigInt64LE(at)), value: Number(table.readBigUInt64LE(at + 8)) };
    if (entry.tag === tags.end) break;
    entries.push(entry);
  }
  const address = entries.find(({ tag }) => tag === tags.stringTable)?.value ?? 0;
  const home = segments.find(
    (one) => one.type === types.load && address >= one.address && address < one.address + one.fileBytes,
  );
  if (!home) return { needed: [], runPath: [] };
  const start = home.offset + address - home.address;
  const strings = await read(file, start, home.offset + home.fileBytes - start);
  const texts = (...wanted: number[]) =>
    entries.filter(({ tag }) => wanted.includes(tag)).map(({ value }) => text(strings, value));
  return {
    needed: texts(tags.needed),
    runPath: texts(tags.runPath, tags.oldRunPath).flatMap((paths) => paths.split(':')),
  };
}

function text(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString('utf8', at, end < 0 ? bytes.length : end);
}

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

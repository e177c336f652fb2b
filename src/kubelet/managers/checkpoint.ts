import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SerialRunner } from '../../async/index.ts';

/**
 * A value as upstream's checksums see it: typed, in the notation of Go's dumps. Tables of it stand beside the files
 * that are written; a kubelet of either kind takes over the files of the other.
 */
export type Dumped =
  | { type: string; fields: readonly (readonly [name: string, value: Dumped])[]; pointer?: boolean }
  | { type: string; entries: readonly (readonly [key: string | number, value: Dumped])[] }
  | { type: string; items: readonly Dumped[] | undefined }
  | { type: string; text: string };

/** The notation of a value; `bare` inside of maps and lists, where types are not repeated. */
export function dump(value: Dumped, bare = false): string {
  if ('fields' in value) {
    const { pointer, fields, type } = value;
    const head = bare ? (pointer ? '<*>' : '') : `(${pointer ? '*' : ''}${type})`;
    return `${head}{${fields.map(([name, field]) => `${name}:${dump(field)}`).join(' ')}}`;
  }
  const head = bare ? '' : `(${value.type})`;
  if ('entries' in value) {
    const entries = [...value.entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `${head}map[${entries.map(([key, entry]) => `${key}:${dump(entry, true)}`).join(' ')}]`;
  }
  if ('items' in value)
    return value.items ? `${head}[${value.items.map((item) => dump(item, true)).join(' ')}]` : `${head}<nil>`;
  return `${head}${value.text}`;
}

/** The checksum that stands in a checkpoint: 32-bit FNV-1a of the notation. */
export function checksum(value: Dumped): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(dump(value))) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** Shorthands for tables. */
export const text = (type: string, value: string | number): Dumped => ({ type, text: String(value) });
export const map = <V>(type: string, values: Readonly<Record<string, V>>, of: (value: V) => Dumped): Dumped => ({
  type,
  entries: Object.entries(values).map(([key, value]) => [/^\d+$/.test(key) ? Number(key) : key, of(value)]),
});

/** Reads a checkpoint; undefined when there is none. @throws Error naming the file when it is not JSON */
export async function readCheckpoint<T>(file: string): Promise<T | undefined> {
  const content = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (content === undefined || content === '') return undefined;
  try {
    return JSON.parse(content) as T;
  } catch (error) {
    throw new Error(`${file} is not JSON: remove it when no pod needs what it says`, { cause: error });
  }
}

/** One write of a file at a time, in the order of the calls. */
const writes = new SerialRunner();

/** Writes a checkpoint, as the value is now: to a temporary file, renamed. */
export function writeCheckpoint(file: string, value: object): Promise<void> {
  const content = JSON.stringify(value);
  return writes.run(file, async () => {
    await mkdir(dirname(file), { recursive: true, mode: 0o750 });
    await writeFile(`${file}.tmp`, content, { mode: 0o600 });
    await rename(`${file}.tmp`, file);
  });
}

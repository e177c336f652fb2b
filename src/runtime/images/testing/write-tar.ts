/** One entry of an archive to be written. */
export interface ArchiveEntry {
  path: string;
  /** Default: a directory when the path ends with a slash, a hard or symbolic link when `linkPath` says so, else a file. */
  type?: 'file' | 'hardlink' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo' | 'global';
  content?: Buffer | string;
  linkPath?: string;
  /** Permission bits. Default 0755 for directories, else 0644. */
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds since 1970. Default 1000000. */
  mtime?: number;
  major?: number;
  minor?: number;
  /** Extended attributes, as pax records. */
  attributes?: Record<string, Buffer | string>;
  /** More pax records, put as they are. */
  pax?: Record<string, string>;
  /** How a name or link of more than 100 bytes is said. Default pax. */
  longNames?: 'pax' | 'gnu' | 'prefix';
}

const typeFlags = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
  global: 'g',
} as const;
const nameLength = 100;
const block = 512;

/** Writes a tar archive (ustar; pax or GNU records where the entries need them), closed by two empty blocks. */
export function writeTar(entries: readonly ArchiveEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(writeEntry), Buffer.alloc(2 * block)]);
}

function writeEntry(entry: ArchiveEntry): Buffer[] {
  const type = entry.type ?? (entry.linkPath ? 'symlink' : entry.path.endsWith('/') ? 'directory' : 'file');
  const content = Buffer.from(entry.content ?? '');
  const parts: Buffer[] = [];
  const records: [string, Buffer][] = Object.entries(entry.pax ?? {}).map(([key, value]) => [key, Buffer.from(value)]);
  for (const [name, value] of Object.entries(entry.attributes ?? {}))
    records.push([`SCHILY.xattr.${name}`, Buffer.from(value)]);
  let [path, linkPath, prefix] = [entry.path, entry.linkPath ?? '', ''];
  if (Buffer.byteLength(path) > nameLength && entry.longNames === 'prefix') {
    const cut = path.indexOf('/', path.length - nameLength - 1);
    [prefix, path] = [path.slice(0, cut), path.slice(cut + 1)];
  }
  for (const [key, flag, text] of [
    ['path', 'L', path],
    ['linkpath', 'K', linkPath],
  ] as const) {
    if (Buffer.byteLength(text) <= nameLength) continue;
    if (entry.longNames === 'gnu') parts.push(...writeBlock('././@LongLink', flag, Buffer.from(`${text}\0`), {}));
    else records.push([key, Buffer.from(text)]);
  }
  if (records.length > 0 && type !== 'global')
    parts.push(...writeBlock('PaxHeaders/x', 'x', Buffer.concat(records.map(paxRecord)), {}));
  const body = type === 'global' ? Buffer.concat(records.map(paxRecord)) : content;
  parts.push(...writeBlock(path, typeFlags[type], body, { ...entry, linkPath, prefix }));
  return parts;
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function paxRecord([key, value]: [string, Buffer]): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function writeBlock(
  path: string,
  flag: string,
  content: Buffer,
  entry: Partial<ArchiveEntry> & { prefix?: string },
): Buffer[] {
  const header = Buffer.alloc(block);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  header.write(path, 0, nameLength);
  octal(entry.mode ?? (flag === '5' ? 0o755 : 0o644), 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(content.length, 124, 12);
  octal(entry.mtime ?? 1_000_000, 136, 12);
  header.write(flag, 156, 'latin1');
  header.write(entry.linkPath ?? '', 157, nameLength);
  header.write('ustar\x0000', 257, 'latin1');
  octal(entry.major ?? 0, 329, 8);
  octal(entry.minor ?? 0, 337, 8);
  header.write(entry.prefix ?? '', 345, 155);
  fixChecksum(header);
  return [header, content, Buffer.alloc((block - (content.length % block)) % block)];
}

/** Makes the checksum of a header fit its bytes again. */
export function fixChecksum(header: Buffer): void {
  header.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

import { constants, type FileHandle, open, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Most that is read of a file of variables, bytes. */
const maxBytes = 1024 * 1024;

/**
 * Reads a file inside a volume. Containers write there, so names are not trusted: links are resolved once and must stay in
 * the volume, then each part is opened from the handle of the one before without following links; only a regular file is read.
 * @throws Error that says what is wrong, without the place on the host
 */
export async function readVolumeFile(volumePath: string, path: string): Promise<string> {
  if (path.split('/').includes('..')) throw new Error(`path ${path} leaves the volume`);
  const base = await realpath(volumePath);
  const inside = relative(base, await realpath(join(base, path)));
  if (inside === '' || inside.split('/')[0] === '..') throw new Error(`path ${path} leaves the volume`);
  const parts = inside.split('/');
  let handle = await open(base, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    for (const [index, part] of parts.entries()) {
      const isLast = index === parts.length - 1;
      const kind = isLast ? constants.O_NONBLOCK : constants.O_DIRECTORY;
      const next = await openPart(handle, part, kind);
      await handle.close();
      handle = next;
    }
    const info = await handle.stat();
    if (!info.isFile()) throw new Error(`${path} is not a file`);
    if (info.size > maxBytes) throw new Error(`${path} is longer than ${maxBytes} bytes`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function openPart(parent: FileHandle, part: string, kind: number): Promise<FileHandle> {
  return open(`/proc/self/fd/${parent.fd}/${part}`, constants.O_RDONLY | constants.O_NOFOLLOW | kind);
}

/**
 * The value of a variable in a file of lines `NAME='value'`. Values are in single quotes and may have several lines; a quote
 * may be followed by a comment; empty lines and lines that begin with `#` say nothing.
 * @returns undefined when the file does not have it, or has it empty
 * @throws Error naming the line that cannot be read
 */
export function envFileValue(text: string, key: string): string | undefined {
  const lines = text.replace(/\n$/, '').split('\n');
  const fail = (index: number, what: string): never => {
    throw new Error(`line ${index + 1}: ${what}`);
  };
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!.replace(/^[ \t]+/, '').replace(/\r$/, '');
    if (line === '' || line.startsWith('#')) continue;
    const equals = line.indexOf('=');
    if (equals < 0) fail(at, "'=' is missing");
    const name = line.slice(0, equals);
    if (name === '') fail(at, 'the name is missing');
    if (/[ \t]$/.test(name)) fail(at, "whitespace before '='");
    let rest = line.slice(equals + 1);
    // As shells read it: NAME= 'x' makes NAME empty.
    if (/^[ \t]/.test(rest)) {
      if (name === key) return undefined;
      continue;
    }
    if (!rest.startsWith("'")) fail(at, 'the value must be in single quotes');
    rest = rest.slice(1);
    const begin = at;
    let value = '';
    let end = rest.indexOf("'");
    while (end < 0) {
      value += `${rest}\n`;
      if (++at >= lines.length) fail(begin, 'the quote is not closed');
      rest = lines[at]!;
      end = rest.indexOf("'");
    }
    value += rest.slice(0, end);
    if (!/^[ \t]*(#.*)?\r?$/.test(rest.slice(end + 1))) fail(at, 'there is more behind the closing quote');
    if (name === key) return value === '' ? undefined : value;
  }
  return undefined;
}

import { closeSync, openSync } from 'node:fs';
import { results, SystemCallError } from '../system-calls/index.ts';

function check(result: number, what: string): void {
  if (result < 0) throw new SystemCallError(-result, what);
}

/** A path as C takes it. One of bytes is of no certain encoding. */
function toPath(path: string | Buffer): Buffer {
  return typeof path === 'string' ? Buffer.from(`${path}\0`) : Buffer.concat([path, Buffer.alloc(1)]);
}

/** Kinds of special files in a mode (S_IFMT). */
export const fileTypes = { character: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

/** Makes a device node or a FIFO. @throws SystemCallError */
export function makeSpecialFile(
  path: string | Buffer,
  kind: keyof typeof fileTypes,
  mode: number,
  major = 0,
  minor = 0,
): void {
  // The kernel's encoding of device numbers (new_encode_dev, as glibc's makedev).
  const device =
    ((BigInt(major) & 0xfffn) << 8n) |
    (BigInt(minor) & 0xffn) |
    ((BigInt(minor) & ~0xffn) << 12n) |
    ((BigInt(major) & ~0xfffn) << 32n);
  check(results.mknod(toPath(path), fileTypes[kind] | mode, device), `make ${kind} file ${path}`);
}

/** Sets an extended attribute of a file, or of a link itself. @throws SystemCallError */
export function setExtendedAttribute(path: string | Buffer, name: string, value: Buffer): void {
  check(results.lsetxattr(toPath(path), name, value, value.length, 0), `set attribute ${name} of ${path}`);
}

/** Waits until all that was written to the file system of a path is on its disk. The event loop goes on meanwhile. */
export async function syncFileSystem(path: string): Promise<void> {
  const file = openSync(path, 'r');
  try {
    // errno belongs to another thread by now: the disk's error is all that it can be.
    const ioError = 5;
    if ((await results.syncfs.onThread(file)) !== 0) throw new SystemCallError(ioError, `write to disk: ${path}`);
  } finally {
    closeSync(file);
  }
}

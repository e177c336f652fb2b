import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const mknodCall = libc.func('int mknod(const char *path, unsigned int mode, unsigned long device)');
const lsetxattrCall = libc.func(
  'int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
);
const syncfsCall = libc.func('int syncfs(int fd)');
const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** A file operation that the kernel refused. */
export class FileError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

function check(result: number, what: string): void {
  if (result === 0) return;
  const code = names.get(koffi.errno()) ?? 'EIO';
  throw new FileError(code, `${code}: ${what}`);
}

/** Kinds of special files in a mode (S_IFMT). */
export const fileTypes = { character: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

/** Makes a device node or a FIFO. */
export function makeSpecialFile(path: string, kind: keyof typeof fileTypes, mode: number, major = 0, minor = 0): void {
  // The kernel's encoding of device numbers (new_encode_dev, as glibc's makedev).
  const device =
    ((BigInt(major) & 0xfffn) << 8n) |
    (BigInt(minor) & 0xffn) |
    ((BigInt(minor) & ~0xffn) << 12n) |
    ((BigInt(major) & ~0xfffn) << 32n);
  check(mknodCall(path, fileTypes[kind] | mode, device), `make ${kind} file ${path}`);
}

/** Sets an extended attribute of a file, or of a link itself. */
export function setExtendedAttribute(path: string, name: string, value: Buffer): void {
  check(lsetxattrCall(path, name, value, value.length, 0), `set attribute ${name} of ${path}`);
}

/** Waits until all that was written to the file system of a path is on its disk. The event loop goes on meanwhile. */
export async function syncFileSystem(path: string): Promise<void> {
  const file = openSync(path, 'r');
  try {
    const result = await new Promise<number>((resolve, reject) => {
      syncfsCall.async(file, (error: Error | null, value: number) => (error ? reject(error) : resolve(value)));
    });
    // errno belongs to another thread by now: the disk's error is all that it can be.
    if (result !== 0) throw new FileError('EIO', `EIO: write to disk: ${path}`);
  } finally {
    closeSync(file);
  }
}

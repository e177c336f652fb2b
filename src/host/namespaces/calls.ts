import { readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';

/** A system call that the kernel refused. */
export class NamespaceError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const libc = koffi.load('libc.so.6');
const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

function declare(signature: string): (...values: unknown[]) => number {
  const call = libc.func(signature);
  const name = /(\w+)\(/.exec(signature)![1]!;
  return (...values) => {
    const result = call(...values) as number;
    if (result !== -1) return result;
    const code = names.get(koffi.errno()) ?? `errno ${koffi.errno()}`;
    throw new NamespaceError(code, `${name}(${values.map((value) => describe(value)).join(', ')}): ${code}`);
  };
}

function describe(value: unknown): string {
  return Buffer.isBuffer(value) ? `${value.length} bytes` : String(value);
}

/** What this room calls in the C library; synchronous, on the calling thread. */
export const calls = {
  unshare: declare('int unshare(int flags)'),
  setns: declare('int setns(int fd, int type)'),
  mount: declare(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  umount2: declare('int umount2(const char *target, int flags)'),
  sethostname: declare('int sethostname(const char *name, size_t length)'),
  socket: declare('int socket(int domain, int type, int protocol)'),
  connect: declare('int connect(int fd, const void *address, unsigned int length)'),
  bind: declare('int bind(int fd, const void *address, unsigned int length)'),
  send: declare('long send(int fd, const void *data, size_t length, int flags)'),
  recv: declare('long recv(int fd, _Out_ void *data, size_t length, int flags)'),
  setsockopt: declare('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)'),
  shutdown: declare('int shutdown(int fd, int how)'),
  close: declare('int close(int fd)'),
  dup: declare('int dup(int fd)'),
  ioctl: declare('int ioctl(int fd, unsigned long request, _Inout_ void *argument)'),
};

/** Flags of unshare(2) and setns(2). */
export const cloneFlags = {
  network: 0x40000000,
  ipc: 0x08000000,
  uts: 0x04000000,
  pid: 0x20000000,
} as const;

/** The identity of a namespace of this thread: `net:[4026531840]`. */
export function namespaceIdentity(file: 'net' | 'ipc' | 'uts' | 'pid'): string {
  return readlinkSync(`/proc/thread-self/ns/${file}`);
}

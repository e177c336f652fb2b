import { SystemCallError } from './errors.ts';
import { declare, type LibraryCall } from './library.ts';

type Bytes = Uint8Array;

/**
 * What this project calls in the C library. Each is synchronous, on the calling thread, and gives a negative errno
 * where it failed: for callers to whom a failure is an answer. All others use {@link calls}.
 */
export const results = {
  // Namespaces.
  unshare: declare<[flags: number]>('int unshare(int flags)'),
  setns: declare<[fd: number, type: number]>('int setns(int fd, int type)'),
  sethostname: declare<[name: string, length: number]>('int sethostname(const char *name, size_t length)'),
  // Mounts.
  mount: declare<
    [source: string | null, target: string, type: string | null, flags: number | bigint, data: string | null]
  >('int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)'),
  umount2: declare<[target: string, flags: number]>('int umount2(const char *target, int flags)'),
  // Mounts of the newer kind; the C library has no names for them before its version 2.36.
  openTree: declare<[number: number, directory: number, path: string, flags: number]>(
    'long syscall(long number, int directory, const char *path, unsigned int flags)',
  ),
  moveMount: declare<[number: number, from: number, fromPath: string, to: number, toPath: string, flags: number]>(
    'long syscall(long number, int from, const char *fromPath, int to, const char *toPath, unsigned int flags)',
  ),
  mountSetattr: declare<
    [number: number, directory: number, path: string, flags: number, attributes: Bytes, size: number]
  >(
    'long syscall(long number, int directory, const char *path, unsigned int flags, const void *attributes, size_t size)',
  ),
  // Files.
  mknod: declare<[path: Bytes, mode: number, device: bigint]>(
    'int mknod(const void *path, unsigned int mode, unsigned long device)',
  ),
  lsetxattr: declare<[path: Bytes, name: string, value: Bytes, size: number, flags: number]>(
    'int lsetxattr(const void *path, const char *name, const void *value, size_t size, int flags)',
  ),
  syncfs: declare<[fd: number]>('int syncfs(int fd)'),
  // Descriptors.
  open: declare<[path: string, flags: number]>('int open(const char *path, int flags)'),
  close: declare<[fd: number]>('int close(int fd)'),
  dup: declare<[fd: number]>('int dup(int fd)'),
  ioctl: declare<[fd: number, request: number, argument: Bytes]>(
    'int ioctl(int fd, unsigned long request, _Inout_ void *argument)',
  ),
  flock: declare<[fd: number, operation: number]>('int flock(int fd, int operation)'),
  // Limits of this process.
  getrlimit: declare<[resource: number, limit: Bytes]>('int getrlimit(int resource, _Out_ void *limit)'),
  setrlimit: declare<[resource: number, limit: Bytes]>('int setrlimit(int resource, const void *limit)'),
  // Memory of this process.
  mallocTrim: declare<[pad: number]>('int malloc_trim(size_t pad)'),
  madvise: declare<[address: bigint, length: bigint, advice: number]>(
    'int madvise(void *address, size_t length, int advice)',
  ),
  // Sockets.
  socket: declare<[domain: number, type: number, protocol: number]>('int socket(int domain, int type, int protocol)'),
  bind: declare<[fd: number, address: Bytes, length: number]>(
    'int bind(int fd, const void *address, unsigned int length)',
  ),
  connect: declare<[fd: number, address: Bytes, length: number]>(
    'int connect(int fd, const void *address, unsigned int length)',
  ),
  send: declare<[fd: number, data: Bytes, length: number, flags: number]>(
    'long send(int fd, const void *data, size_t length, int flags)',
  ),
  recv: declare<[fd: number, data: Bytes, length: number, flags: number]>(
    'long recv(int fd, _Out_ void *data, size_t length, int flags)',
  ),
  sendmsg: declare<[fd: number, message: Bytes, flags: number]>('long sendmsg(int fd, const void *message, int flags)'),
  recvmsg: declare<[fd: number, message: Bytes, flags: number]>(
    'long recvmsg(int fd, _Inout_ void *message, int flags)',
  ),
  setsockopt: declare<[fd: number, level: number, name: number, value: Bytes, length: number]>(
    'int setsockopt(int fd, int level, int name, const void *value, unsigned int length)',
  ),
  getsockopt: declare<[fd: number, level: number, name: number, value: Bytes, length: Bytes]>(
    'int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ void *length)',
  ),
  shutdown: declare<[fd: number, how: number]>('int shutdown(int fd, int how)'),
};

type Checked<Call> = Call extends LibraryCall<infer Arguments> ? (...values: Arguments) => number : never;

/** The same calls, but what the kernel refuses is thrown. @throws SystemCallError */
export const calls = Object.fromEntries(
  Object.entries(results).map(([name, call]) => [name, checked(name, call as LibraryCall<unknown[]>)]),
) as { [Name in keyof typeof results]: Checked<(typeof results)[Name]> };

function checked(name: string, call: LibraryCall<unknown[]>): (...values: unknown[]) => number {
  return (...values) => {
    const result = call(...values);
    if (result < 0) throw new SystemCallError(-result, `${name}(${values.map(describe).join(', ')})`);
    return result;
  };
}

function describe(value: unknown): string {
  return value instanceof Uint8Array ? `${value.length} bytes` : String(value);
}

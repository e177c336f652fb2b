import koffi from 'koffi';

/** Address families, socket options and flags that netlink sockets need (x86-64 and arm64 Linux). */
export const constant = {
  afNetlink: 16,
  sockRaw: 3,
  sockCloexec: 0x80000,
  solSocket: 1,
  soSndBuf: 7,
  soRcvBuf: 8,
  soSndBufForce: 32,
  soRcvBufForce: 33,
  solNetlink: 270,
  netlinkAddMembership: 1,
  netlinkCapAck: 10,
  netlinkExtAck: 11,
  netlinkGetStrictCheck: 12,
  msgDontWait: 0x40,
  msgTrunc: 0x20,
  cloneNewNet: 0x40000000,
  oRdonlyCloexec: 0x80000,
} as const;

type Calls = ReturnType<typeof load>;
let loaded: Calls | undefined;

/** The C library's functions, bound on first use. */
export function libc(): Calls {
  loaded ??= load();
  return loaded;
}

/** The errno of the call before. */
export function lastErrno(): number {
  return koffi.errno();
}

function load() {
  const library = koffi.load('libc.so.6');
  const bind = (signature: string) => library.func(signature) as (...args: unknown[]) => number;
  return {
    socket: bind('int socket(int, int, int)'),
    bind: bind('int bind(int, const void *, int)'),
    send: bind('long send(int, const void *, size_t, int)'),
    recv: bind('long recv(int, void *, size_t, int)'),
    setsockopt: bind('int setsockopt(int, int, int, const void *, int)'),
    close: bind('int close(int)'),
    open: bind('int open(const char *, int)'),
    setns: bind('int setns(int, int)'),
  };
}

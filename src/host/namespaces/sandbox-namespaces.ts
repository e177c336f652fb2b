import { closeSync, existsSync, mkdirSync, openSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { calls } from '../system-calls/index.ts';

/** Flags of unshare(2) and setns(2). */
export const cloneFlags = { network: 0x40000000, ipc: 0x08000000, uts: 0x04000000, pid: 0x20000000 } as const;

/** The kinds of namespaces that a pod's containers share. */
export type SharedNamespace = 'network' | 'ipc' | 'uts' | 'pid' | 'user';

/** Their names under /proc/<pid>/ns. */
export const namespaceFiles = { network: 'net', ipc: 'ipc', uts: 'uts', pid: 'pid', user: 'user' } as const;

/** What new namespaces should be like. */
export interface SandboxNamespacesOptions {
  /** A directory for the files that keep them; made when it is missing. */
  directory: string;
  network: boolean;
  ipc: boolean;
  uts: boolean;
  /** Set inside the new UTS namespace. */
  hostname?: string;
  /** Dotted names (`net.core.somaxconn`) and values, written inside the new namespaces. */
  sysctls?: Readonly<Record<string, string>>;
}

/**
 * Makes namespaces without a process in them, each kept by a bind mount of its file in the directory.
 *
 * Synchronous by design: unshare(2) and setns(2) change the calling thread only, and this thread is back in its own
 * namespaces before anything else can run. Takes about a millisecond.
 * @throws Error with the system call or the sysctl that failed; then nothing is left but files without a mount
 */
export function createSandboxNamespaces(options: SandboxNamespacesOptions): Partial<Record<SharedNamespace, string>> {
  mkdirSync(options.directory, { recursive: true });
  const wanted = (['network', 'ipc', 'uts'] as const).filter((kind) => options[kind]);
  const pinned: Partial<Record<SharedNamespace, string>> = {};
  const own: number[] = [];
  try {
    for (const kind of wanted) own.push(openSync(`/proc/thread-self/ns/${namespaceFiles[kind]}`, 'r'));
    if (wanted.length > 0) calls.unshare(wanted.reduce((flags, kind) => flags | cloneFlags[kind], 0));
    if (options.uts && options.hostname) calls.sethostname(options.hostname, Buffer.byteLength(options.hostname));
    for (const [name, value] of Object.entries(options.sysctls ?? {})) writeSysctl(name, value);
    for (const kind of wanted) {
      pinned[kind] = join(options.directory, namespaceFiles[kind]);
      pinNamespace(`/proc/thread-self/ns/${namespaceFiles[kind]}`, pinned[kind]);
    }
    return pinned;
  } catch (cause) {
    for (const path of Object.values(pinned)) unpinNamespace(path);
    throw cause;
  } finally {
    for (const fd of own) {
      calls.setns(fd, 0);
      closeSync(fd);
    }
  }
}

/** Keeps a namespace alive by mounting its file (`/proc/<pid>/ns/net`) on another path. */
export function pinNamespace(source: string, path: string): void {
  if (!existsSync(path)) writeFileSync(path, '');
  const msBind = 4096;
  calls.mount(source, path, null, msBind, null);
}

/** Whether a path keeps a namespace. */
export function isPinned(path: string): boolean {
  const namespaceFileSystem = 0x6e736673;
  try {
    return statfsSync(path).type === namespaceFileSystem;
  } catch {
    return false;
  }
}

/** Lets go of a kept namespace; it ends with its last process. Nothing there is no error. */
export function unpinNamespace(path: string): void {
  const mntDetach = 2;
  try {
    for (;;) calls.umount2(path, mntDetach);
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code !== 'EINVAL' && code !== 'ENOENT') throw cause;
  }
}

/** Writes a sysctl of the namespaces in which this thread is. @throws Error naming it */
export function writeSysctl(name: string, value: string): void {
  const path = `/proc/sys/${name.replaceAll('.', '/')}`;
  try {
    writeFileSync(path, value);
  } catch (cause) {
    throw new Error(`cannot set sysctl ${name}=${value}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Runs a synchronous function with this thread inside another network namespace, and comes back. Sockets that it opens
 * stay there; nothing else of this process sees the change. Not for asynchronous work: everything else on the thread
 * would run there too. The namespace is a path (`/run/netns/x`, `/proc/1/ns/net`) or an open descriptor; undefined
 * means the one that the thread is in anyway.
 * @throws Error when it cannot be entered
 */
export function inNetworkNamespace<T>(namespace: string | number | undefined, task: () => T): T {
  if (namespace === undefined) return task();
  const own = openSync('/proc/thread-self/ns/net', 'r');
  let other: number | undefined;
  try {
    other = typeof namespace === 'string' ? openSync(namespace, 'r') : namespace;
    calls.setns(other, cloneFlags.network);
    try {
      return task();
    } finally {
      calls.setns(own, cloneFlags.network);
    }
  } finally {
    if (typeof namespace === 'string' && other !== undefined) closeSync(other);
    closeSync(own);
  }
}

function inNamespace<T>(path: string, kind: 'ipc' | 'uts', task: () => T): T {
  const own = openSync(`/proc/thread-self/ns/${namespaceFiles[kind]}`, 'r');
  const other = openSync(path, 'r');
  try {
    calls.setns(other, cloneFlags[kind]);
    return task();
  } finally {
    calls.setns(own, cloneFlags[kind]);
    closeSync(other);
    closeSync(own);
  }
}

/**
 * Runs a synchronous function with this thread inside those of the namespaces that a thread can enter (not user and
 * PID ones).
 */
export function inNamespaces<T>(paths: Partial<Record<SharedNamespace, string>>, task: () => T): T {
  const { network, ipc, uts } = paths;
  const inUts = (): T => (uts === undefined ? task() : inNamespace(uts, 'uts', task));
  const inIpc = (): T => (ipc === undefined ? inUts() : inNamespace(ipc, 'ipc', inUts));
  return inNetworkNamespace(network, inIpc);
}

/** Gives the hostname and the sysctls to namespaces that exist. @throws Error naming the sysctl that was refused */
export function configureNamespaces(
  paths: Partial<Record<SharedNamespace, string>>,
  options: Pick<SandboxNamespacesOptions, 'hostname' | 'sysctls'>,
): void {
  inNamespaces(paths, () => {
    if (paths.uts && options.hostname) calls.sethostname(options.hostname, Buffer.byteLength(options.hostname));
    for (const [name, value] of Object.entries(options.sysctls ?? {})) writeSysctl(name, value);
  });
}

/** Runs a synchronous function whose first child process becomes PID 1 of a new PID namespace. */
export function inNewPidNamespace<T>(task: () => T): T {
  const own = openSync('/proc/thread-self/ns/pid', 'r');
  try {
    calls.unshare(cloneFlags.pid);
    return task();
  } finally {
    calls.setns(own, cloneFlags.pid);
    closeSync(own);
  }
}

import { accessSync, constants } from 'node:fs';
import type { RegistryConfig } from './images/index.ts';

/** An OCI runtime program that pods can choose by name (`runtime_handler`). */
export interface OciRuntimeSettings {
  name: string;
  path: string;
}

/** How the runtime runs. Directories and sockets are absolute paths. */
export interface RuntimeSettings {
  /** The unix socket of the CRI: `/path` or `unix:///path`. */
  listen: string;
  /** What must survive a reboot: images, snapshots, records of sandboxes and containers. */
  root: string;
  /** What belongs to this boot: namespaces, bundles, sockets, exit files. */
  state: string;
  /** The cgroup below which sandboxes go that name no parent. Default `/deckhand`. */
  cgroupParent?: string;
  /** Addresses of pods on the built-in bridge: `10.88.0.0/24`. Until it is known the network is not ready. */
  podCidr?: string;
  /** Name of the built-in bridge. Default `deckhand0`. */
  bridgeName?: string;
  /** Largest packet on the built-in bridge. Default 1500. */
  mtu?: number;
  /** A directory with CNI configurations; when it holds one, plugins make the pod network instead of the bridge. */
  cniConfDir?: string;
  /** Where CNI plugins are. Default `/opt/cni/bin` and `/usr/lib/cni`. */
  cniBinDirs?: readonly string[];
  /** OCI runtimes; the first is the default. Default: the first of runc and crun on this machine. */
  runtimes?: readonly OciRuntimeSettings[];
  /** Default: conmon in the usual directories. */
  conmonPath?: string;
  /** Rules for registries: mirrors, plain HTTP, credentials. */
  registries?: readonly RegistryConfig[];
  /** Layers fetched at once per image. Default 3. */
  maxParallelLayers?: number;
  /** Where `Localhost` seccomp profiles with relative names are. Default `/var/lib/kubelet/seccomp`. */
  seccompProfileRoot?: string;
  /** Where the streaming server listens. Default `127.0.0.1`, any port. */
  streamingAddress?: string;
  streamingPort?: number;
  /** The version that the runtime reports. */
  version?: string;
}

/** Settings with every default filled in. */
export type ResolvedSettings = Required<Omit<RuntimeSettings, 'podCidr' | 'cniConfDir'>> &
  Pick<RuntimeSettings, 'podCidr' | 'cniConfDir'>;

const programDirectories = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/usr/libexec/podman',
];

/** Fills in defaults. @throws Error naming the program that is missing */
export function resolveSettings(settings: RuntimeSettings): ResolvedSettings {
  const found = settings.runtimes ?? ['runc', 'crun'].flatMap((name) => ociRuntime(name));
  if (found.length === 0) throw new Error('no OCI runtime found: install runc');
  const conmonPath = settings.conmonPath ?? findProgram('conmon');
  if (!conmonPath) throw new Error('conmon not found: install the package conmon');
  return {
    ...settings,
    runtimes: found,
    conmonPath,
    listen: settings.listen.replace(/^unix:(\/\/)?/, ''),
    cgroupParent: settings.cgroupParent ?? '/deckhand',
    bridgeName: settings.bridgeName ?? 'deckhand0',
    mtu: settings.mtu ?? 1500,
    cniBinDirs: settings.cniBinDirs ?? ['/opt/cni/bin', '/usr/lib/cni'],
    registries: settings.registries ?? [],
    maxParallelLayers: settings.maxParallelLayers ?? 3,
    seccompProfileRoot: settings.seccompProfileRoot ?? '/var/lib/kubelet/seccomp',
    streamingAddress: settings.streamingAddress ?? '127.0.0.1',
    streamingPort: settings.streamingPort ?? 0,
    version: settings.version ?? '0.1.0',
  };
}

function ociRuntime(name: string): OciRuntimeSettings[] {
  const path = findProgram(name);
  return path ? [{ name, path }] : [];
}

/** The path of a program in the usual directories. */
export function findProgram(name: string, directories: readonly string[] = programDirectories): string | undefined {
  for (const directory of directories) {
    try {
      accessSync(`${directory}/${name}`, constants.X_OK);
      return `${directory}/${name}`;
    } catch {
      // Not in this one.
    }
  }
  return undefined;
}

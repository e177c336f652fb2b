import { existsSync, readFileSync } from 'node:fs';

/** A program that Deckhand runs, and the Debian package that brings it. */
export interface Requirement {
  program: string;
  /** Where it may be; the first that exists counts. */
  paths: readonly string[];
  /** The Debian package. */
  package: string;
  /** What it is for, for people. */
  use: string;
}

const inPath = (program: string): string[] =>
  ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].map(
    (directory) => `${directory}/${program}`,
  );

/** What a node needs on its host. */
export const requirements: readonly Requirement[] = [
  { program: 'runc', paths: inPath('runc'), package: 'runc', use: 'starts containers' },
  { program: 'conmon', paths: inPath('conmon'), package: 'conmon', use: 'keeps containers, their logs and exit codes' },
  {
    program: 'iptables-restore',
    paths: inPath('iptables-restore'),
    package: 'iptables',
    use: 'Service rules in iptables mode',
  },
  {
    program: 'nft',
    paths: inPath('nft'),
    package: 'nftables',
    use: 'shows Service rules (they are written over netlink)',
  },
  {
    program: 'bridge (CNI)',
    paths: ['/usr/lib/cni/bridge', '/opt/cni/bin/bridge'],
    package: 'containernetworking-plugins',
    use: 'pod networks by CNI configuration',
  },
  { program: 'ip', paths: inPath('ip'), package: 'iproute2', use: 'shows links and namespaces' },
  { program: 'mount', paths: inPath('mount'), package: 'mount', use: 'shows mounts' },
];

/** What the demo and the tests need besides. */
export const demoRequirements: readonly Requirement[] = [
  {
    program: 'busybox',
    paths: ['/bin/busybox', '/usr/bin/busybox'],
    package: 'busybox-static',
    use: 'the demo image is built from it',
  },
];

/** What only the tests need. */
export const testRequirements: readonly Requirement[] = [
  { program: 'containerd', paths: inPath('containerd'), package: 'containerd', use: 'the kubelet is tested on it too' },
  { program: 'dockerd', paths: inPath('dockerd'), package: 'docker.io', use: 'the engine below cri-docker' },
  {
    program: 'linux.uml',
    paths: inPath('linux.uml'),
    package: 'user-mode-linux',
    use: 'a second kernel, with cgroup v2 only',
  },
  { program: 'modprobe', paths: inPath('modprobe'), package: 'kmod', use: 'the modules of the second kernel' },
  { program: 'ipset', paths: inPath('ipset'), package: 'ipset', use: 'says what sets are in the kernel' },
  { program: 'ipvsadm', paths: inPath('ipvsadm'), package: 'ipvsadm', use: 'says what IPVS has, in the second kernel' },
  { program: 'crun', paths: inPath('crun'), package: 'crun', use: 'a second OCI runtime, which pods can choose' },
  { program: 'nsenter', paths: inPath('nsenter'), package: 'util-linux', use: 'tests run in namespaces of their own' },
  { program: 'ping', paths: inPath('ping'), package: 'iputils-ping', use: 'a Service answers no ping' },
  { program: 'socat', paths: inPath('socat'), package: 'socat', use: 'clients and servers of the packet tests' },
  { program: 'curl', paths: inPath('curl'), package: 'curl', use: 'a client of port-forwards' },
  { program: 'pgrep', paths: inPath('pgrep'), package: 'procps', use: 'tests look for processes that stayed' },
  {
    program: 'python3',
    paths: inPath('python3'),
    package: 'python3-minimal',
    use: 'reads what Node cannot: extended attributes',
  },
  {
    program: 'dbus-daemon',
    paths: inPath('dbus-daemon'),
    package: 'dbus-daemon',
    use: 'a bus for shutdowns of the node',
  },
  { program: 'skopeo', paths: inPath('skopeo'), package: 'skopeo', use: 'another client of registries' },
  { program: 'openssl', paths: inPath('openssl'), package: 'openssl', use: 'TLS in the images of the charts' },
  { program: 'docker-registry', paths: inPath('docker-registry'), package: 'docker-registry', use: 'another registry' },
];

/** The requirements whose program is nowhere. */
export function missing(list: readonly Requirement[], exists: (path: string) => boolean = existsSync): Requirement[] {
  return list.filter(({ paths }) => !paths.some(exists));
}

/** Reasons why a node cannot run on this machine, each one sentence with what to do. Empty: it can. */
export function findObstacles(): string[] {
  if (process.platform !== 'linux')
    return [`Deckhand needs Linux, and this is ${process.platform}: use a Linux machine or a virtual one`];
  const obstacles: string[] = [];
  if (process.getuid?.() !== 0)
    obstacles.push('Deckhand makes namespaces, mounts and firewall rules, which needs root: run it with sudo');
  const filesystems = readText('/proc/filesystems');
  if (!/\boverlay\b/.test(filesystems) && !moduleExists('overlay')) {
    obstacles.push(
      'the kernel has no overlay file system, which container images need: load it with "modprobe overlay"',
    );
  }
  for (const [kind, text] of [
    ['net', 'network'],
    ['pid', 'PID'],
    ['ipc', 'IPC'],
    ['uts', 'UTS'],
    ['mnt', 'mount'],
  ] as const) {
    if (!existsSync(`/proc/self/ns/${kind}`))
      obstacles.push(`the kernel has no ${text} namespaces: use a kernel with CONFIG_${kind.toUpperCase()}_NS`);
  }
  if (!/\bcgroup2?\b/.test(filesystems))
    obstacles.push('the kernel has no control groups: use a kernel with CONFIG_CGROUPS');
  else if (!/ cgroup2? /.test(readText('/proc/self/mounts')))
    obstacles.push('no control groups are mounted: mount cgroup2 on /sys/fs/cgroup');
  return obstacles;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function moduleExists(name: string): boolean {
  const release = readText('/proc/sys/kernel/osrelease').trim();
  return (
    readText(`/lib/modules/${release}/modules.builtin`).includes(`/${name}.ko`) ||
    readText(`/lib/modules/${release}/modules.dep`).includes(`/${name}.ko`)
  );
}

import { readFile } from 'node:fs/promises';
import { type Mount, MountPropagation } from '../../../api/cri/index.ts';
import { invalid } from '../../errors.ts';
import { hostPath } from '../host-path.ts';
import type { OciMount } from './oci-spec.ts';

/** Files and directories of the sandbox that its containers see. */
export interface SandboxMounts {
  resolvConf: string;
  hostname: string;
  hosts: string;
  shm: string;
}

/** Which of the system's mounts a container can have of its own. */
interface SystemMountOptions {
  privileged: boolean;
  hostNetwork: boolean;
  hostIpc: boolean;
  userNamespace: boolean;
}

/**
 * The system's mounts. Inside a user namespace the kernel gives a new sysfs only to the owner of the network namespace,
 * and a new mqueue only to that of the IPC namespace: what is the host's is shown as it is.
 */
const systemMounts = (options: SystemMountOptions): OciMount[] => {
  const access = options.privileged ? 'rw' : 'ro';
  const flags = ['nosuid', 'noexec', 'nodev'];
  const hostsOwn = (path: string): OciMount => ({
    destination: path,
    type: 'bind',
    source: path,
    options: ['rbind', 'rslave', ...flags, access],
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: flags },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    options.userNamespace && options.hostIpc
      ? { ...hostsOwn('/dev/mqueue'), options: ['rbind', 'rprivate', ...flags, 'rw'] }
      : { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: flags },
    options.userNamespace && options.hostNetwork
      ? hostsOwn('/sys')
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...flags, access] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...flags, 'relatime', access] },
  ];
};

/**
 * All mounts of a container, parents before children: the system's, the sandbox's, then those asked for. One that is
 * asked for takes the place of a default at the same destination.
 */
export async function resolveMounts(options: {
  asked: readonly Mount[];
  /** Host paths of image volumes, by container path. */
  images: ReadonlyMap<string, string>;
  sandbox: SandboxMounts;
  system: SystemMountOptions;
  readonlyRootfs: boolean;
  /** Why mounts cannot be read-only with all below them; undefined when they can. */
  recursiveReadOnlyProblem: () => Promise<string | undefined>;
  /** Shows volumes with other owners; gives where. */
  mapVolumes: (volumes: readonly { mount: Mount; source: string }[]) => Promise<ReadonlyMap<Mount, string>>;
}): Promise<{ mounts: OciMount[]; rootfsPropagation?: string }> {
  if (options.asked.some(({ recursiveReadOnly }) => recursiveReadOnly)) {
    const problem = await options.recursiveReadOnlyProblem();
    if (problem) throw invalid(`recursive read-only mounts are not supported here: ${problem}`);
  }
  const wanted = await resolveVolumes(options);
  const taken = new Set(wanted.map(({ destination }) => destination));
  const access = options.readonlyRootfs ? 'ro' : 'rw';
  const file = (destination: string, source: string): OciMount => ({
    destination,
    type: 'bind',
    source,
    options: ['bind', 'rprivate', access],
  });
  const own: OciMount[] = [
    file('/etc/hostname', options.sandbox.hostname),
    file('/etc/resolv.conf', options.sandbox.resolvConf),
    file('/etc/hosts', options.sandbox.hosts),
    {
      destination: '/dev/shm',
      type: 'bind',
      source: options.sandbox.shm,
      options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'rw'],
    },
  ];
  const mounts = [...systemMounts(options.system), ...own].filter(({ destination }) => !taken.has(destination));
  const depth = ({ destination }: OciMount): number => destination.split('/').filter(Boolean).length;
  mounts.push(...wanted.sort((a, b) => depth(a) - depth(b)));
  const propagations = new Set(options.asked.map(({ propagation }) => propagation));
  // A mount can only follow the host's when the root above it does.
  if (propagations.has(MountPropagation.PROPAGATION_BIDIRECTIONAL)) return { mounts, rootfsPropagation: 'rshared' };
  if (propagations.has(MountPropagation.PROPAGATION_HOST_TO_CONTAINER)) return { mounts, rootfsPropagation: 'rslave' };
  return { mounts };
}

const propagationOptions = {
  [MountPropagation.PROPAGATION_PRIVATE]: 'rprivate',
  [MountPropagation.PROPAGATION_HOST_TO_CONTAINER]: 'rslave',
  [MountPropagation.PROPAGATION_BIDIRECTIONAL]: 'rshared',
} as const;

async function resolveVolumes(options: Parameters<typeof resolveMounts>[0]): Promise<OciMount[]> {
  const { asked, images } = options;
  const sources = new Map<Mount, string>();
  await Promise.all(
    asked.map(async (mount) => {
      checkRecursiveReadOnly(mount);
      const source = images.get(mount.containerPath) ?? (await hostPath(mount.hostPath));
      if (!isImage(mount) && mount.propagation !== MountPropagation.PROPAGATION_PRIVATE)
        await checkPropagation(mount, source);
      sources.set(mount, source);
    }),
  );
  // The layers of an image volume are shown with the owners of the sandbox already.
  const toMap = asked.filter((mount) => !isImage(mount) && mount.uidMappings.length + mount.gidMappings.length > 0);
  const mapped =
    toMap.length > 0
      ? await options.mapVolumes(toMap.map((mount) => ({ mount, source: sources.get(mount)! })))
      : sources;
  return asked.map((mount) => toOciMount(mount, mapped.get(mount) ?? sources.get(mount)!));
}

const isImage = ({ image }: Mount): boolean => Boolean(image?.image);

/**
 * A volume as the specification says it. With SELinux its files would be labelled anew where `selinuxRelabel` is set;
 * like other runtimes that leave labels to the node's owner, we do not.
 */
function toOciMount(mount: Mount, source: string): OciMount {
  const destination = normalizeDestination(mount.containerPath);
  if (isImage(mount))
    return { destination, type: 'bind', source, options: ['rbind', 'rprivate', 'ro', 'nosuid', 'nodev'] };
  const access = mount.recursiveReadOnly ? ['rro'] : [mount.readonly ? 'ro' : 'rw'];
  return { destination, type: 'bind', source, options: ['rbind', propagationOptions[mount.propagation], ...access] };
}

function checkRecursiveReadOnly(mount: Mount): void {
  if (!mount.recursiveReadOnly) return;
  if (!mount.readonly) throw invalid(`mount ${mount.containerPath}: recursive read-only needs read-only`);
  if (mount.propagation !== MountPropagation.PROPAGATION_PRIVATE)
    throw invalid(`mount ${mount.containerPath}: recursive read-only needs private propagation`);
}

function normalizeDestination(path: string): string {
  if (path === '') throw invalid('a mount has no container path');
  return path.startsWith('/') ? path : `/${path}`;
}

/** Mounts can only travel along a shared (or, towards the container, slave) mount of the host. */
async function checkPropagation(mount: Mount, source: string): Promise<void> {
  const flags = mountFlags(await readFile('/proc/self/mountinfo', 'utf8'), source);
  const shared = flags.includes('shared:');
  if (mount.propagation === MountPropagation.PROPAGATION_BIDIRECTIONAL && !shared)
    throw invalid(`path "${mount.hostPath}" is mounted on a file system that is not a shared mount`);
  if (mount.propagation === MountPropagation.PROPAGATION_HOST_TO_CONTAINER && !shared && !flags.includes('master:'))
    throw invalid(`path "${mount.hostPath}" is mounted on a file system that is not a shared or slave mount`);
}

/** The optional fields of the mount that holds a path. */
function mountFlags(mountinfo: string, path: string): string {
  let best = '';
  let flags = '';
  for (const line of mountinfo.split('\n')) {
    const fields = line.split(' ');
    const point = fields[4]?.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))) ?? '';
    const holds = point === '/' || path === point || path.startsWith(`${point}/`);
    if (!holds || point === '' || point.length < best.length) continue;
    best = point;
    flags = fields.slice(6, fields.indexOf('-')).join(' ');
  }
  return flags;
}

import { NamespaceMode, type PodSandboxConfig } from '../../api/cri/index.ts';
import { invalid } from '../errors.ts';

/** Kernel settings that belong to an IPC namespace. */
const ofIpc = /^(kernel\.(shm[a-z_]*|msg[a-z]*|sem|auto_msgmni)|fs\.mqueue\.[a-z_]+)$/;

/**
 * The sysctls of a sandbox with dots in their names: those asked for, over the runtime's own for networks.
 * @throws RuntimeError INVALID_ARGUMENT for one that would change the node
 */
export function sandboxSysctls(
  { linux }: PodSandboxConfig,
  defaults: Readonly<Record<string, string>>,
): Record<string, string> {
  const options = linux?.securityContext?.namespaceOptions;
  const hostNetwork = options?.network === NamespaceMode.NODE;
  const asked = Object.fromEntries(
    Object.entries(linux?.sysctls ?? {}).map(([name, value]) => [toDots(name), value] as const),
  );
  for (const name of Object.keys(asked)) {
    const isIpc = ofIpc.test(name);
    const isNetwork = name.startsWith('net.');
    // The names of the machine are namespaced too; the host name has a field of its own.
    const isDomain = name === 'kernel.domainname';
    if (!/^[\w-]+(\.[\w-]+)+(\/[\w.-]+)*$/.test(name.replaceAll('/', '_')) || !(isNetwork || isIpc || isDomain))
      throw invalid(`sysctl ${name} is not namespaced: it would change the whole node`);
    if ((isNetwork || isDomain) && hostNetwork) throw invalid(`sysctl ${name} cannot be set in the host's network`);
    if (isIpc && options?.ipc === NamespaceMode.NODE)
      throw invalid(`sysctl ${name} cannot be set in the host's IPC namespace`);
  }
  return hostNetwork ? asked : { ...defaults, ...asked };
}

/**
 * `net/ipv4/conf/eth0.1/rp_filter` has slashes as separators, and dots stand for themselves; `net.ipv4.tcp_syncookies`
 * has dots. As sysctl(8), the first separator tells which.
 */
function toDots(name: string): string {
  const first = /[./]/.exec(name)?.[0];
  if (first !== '/') return name;
  return name.replaceAll(/[./]/g, (one) => (one === '/' ? '.' : '/'));
}

import { release } from 'node:os';
import type { Pod } from '../../api/index.ts';

/** Sysctls that a pod may set, since they are its own and do the node no harm; with the kernel that made them so. */
const safe: Readonly<Record<string, string>> = {
  'kernel.shm_rmid_forced': '',
  'net.ipv4.ip_local_port_range': '',
  'net.ipv4.tcp_syncookies': '',
  'net.ipv4.ping_group_range': '',
  'net.ipv4.ip_unprivileged_port_start': '',
  'net.ipv4.ip_local_reserved_ports': '3.16',
  'net.ipv4.tcp_keepalive_time': '4.5',
  'net.ipv4.tcp_keepalive_intvl': '4.5',
  'net.ipv4.tcp_keepalive_probes': '4.5',
  'net.ipv4.tcp_fin_timeout': '4.6',
  'net.ipv4.tcp_rmem': '4.15',
  'net.ipv4.tcp_wmem': '4.15',
};

/** Whether a sysctl is safe on a kernel: `6.18.5-amd64`. */
function isSafe(name: string, kernel: string): boolean {
  const since = safe[name];
  if (since === undefined) return false;
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10) || 0);
  const [leastMajor = 0, leastMinor = 0] = since.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

/** Which namespace a sysctl (or the beginning of its name) belongs to; those of none are the node's and never a pod's. */
function namespaceOf(name: string): 'ipc' | 'net' | undefined {
  if (name === 'kernel.sem' || /^(kernel\.(shm|msg)|fs\.mqueue\.)/.test(name)) return 'ipc';
  return name.startsWith('net.') ? 'net' : undefined;
}

/** The sysctl's name with dots between its parts; a stroke may stand for one, since names of links have dots in them. */
export function normalizedSysctl(name: string): string {
  const first = name.search(/[./]/);
  if (first < 0 || name[first] === '.') return name;
  return [...name].map((letter) => (letter === '/' ? '.' : letter === '.' ? '/' : letter)).join('');
}

const pattern =
  /^([a-z0-9][-_a-z0-9]*[./])*([a-z0-9][-_a-z0-9]*|\*)$|^[a-z0-9]([-_a-z0-9]*[a-z0-9])?\*$|^([a-z0-9][-_a-z0-9]*[./])*[a-z0-9][-_a-z0-9]*\*$/;

/** What is wrong with an entry of `allowedUnsafeSysctls`; undefined when nothing is. */
export function sysctlPatternProblem(given: string): string | undefined {
  if (given.length > 253 || !pattern.test(given))
    return `sysctl ${JSON.stringify(given)} must be a name or a beginning of names that ends in *`;
  const name = normalizedSysctl(given).replace(/\*$/, '');
  return namespaceOf(name) ? undefined : `the sysctls ${JSON.stringify(name)} are not known to be namespaced`;
}

/**
 * The first sysctl that a pod may not set, with the reason, or undefined. `allowed` are names and prefixes ending in `*`.
 * @param kernel the release of the kernel
 */
export function forbiddenSysctl(pod: Pod, allowed: readonly string[], kernel = release()): string | undefined {
  const patterns = allowed.map(normalizedSysctl);
  for (const { name: given } of pod.spec!.securityContext?.sysctls ?? []) {
    const name = normalizedSysctl(given);
    const namespace = namespaceOf(name);
    const permitted = patterns.some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : one === name));
    if (!isSafe(name, kernel) && !permitted) return `forbidden sysctl: "${name}" not allowlisted`;
    if (namespace === 'net' && pod.spec!.hostNetwork)
      return `forbidden sysctl: "${name}" not allowed with host net enabled`;
    if (namespace === 'ipc' && pod.spec!.hostIPC)
      return `forbidden sysctl: "${name}" not allowed with host ipc enabled`;
    if (!namespace) return `forbidden sysctl: "${name}" is not namespaced`;
  }
  return undefined;
}

import type { Pod } from '../../api/index.ts';

/** Sysctls that a pod may set: they are its own, and do the node no harm. */
const safe = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);

/** Which namespace a sysctl belongs to; those of none are the node's and never a pod's. */
function namespaceOf(name: string): 'ipc' | 'net' | undefined {
  if (/^(kernel\.(shm|msg|sem)|fs\.mqueue\.)/.test(name)) return 'ipc';
  return name.startsWith('net.') ? 'net' : undefined;
}

/** The first sysctl that a pod may not set, with the reason, or undefined. `allowed` are names and prefixes ending in `*`. */
export function forbiddenSysctl(pod: Pod, allowed: readonly string[]): string | undefined {
  for (const { name: given } of pod.spec!.securityContext?.sysctls ?? []) {
    const name = given.replaceAll('/', '.');
    const namespace = namespaceOf(name);
    const permitted = allowed.some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : one === name));
    if (!safe.has(name) && !permitted) return `forbidden sysctl: "${name}" not allowlisted`;
    if (namespace === 'net' && pod.spec!.hostNetwork)
      return `forbidden sysctl: "${name}" not allowed with host net enabled`;
    if (namespace === 'ipc' && pod.spec!.hostIPC)
      return `forbidden sysctl: "${name}" not allowed with host ipc enabled`;
    if (!namespace) return `forbidden sysctl: "${name}" is not namespaced`;
  }
  return undefined;
}

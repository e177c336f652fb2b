import { readFileSync } from 'node:fs';
import type { Capability } from '../../../api/cri/index.ts';
import { invalid } from '../../errors.ts';
import type { OciProcess } from './oci-spec.ts';

/** Every capability, at the place of its number. */
export const capabilityNames = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN ' +
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE ' +
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/** What a container has that asks for nothing. */
const defaults =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'
    .split(' ')
    .map((name) => `CAP_${name}`);

/** The capabilities that this process may hand on. */
export function availableCapabilities(status = readFileSync('/proc/self/status', 'utf8')): Set<string> {
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return new Set(capabilityNames.filter((_, number) => (mask >> BigInt(number)) & 1n));
}

/**
 * The capability sets of a container's process. `ALL` works in both lists; a drop of all is applied before the adds.
 * @throws RuntimeError INVALID_ARGUMENT for a name that does not exist, or that this machine does not let us give
 */
export function resolveCapabilities(
  asked: Capability | undefined,
  options: { privileged: boolean; available: ReadonlySet<string> },
): OciProcess['capabilities'] {
  const all = capabilityNames.filter((name) => options.available.has(name));
  const ambient = (asked?.addAmbientCapabilities ?? []).flatMap((name) => expand(name, all, 'add'));
  let set = new Set(options.privileged ? all : defaults);
  if (!options.privileged) {
    const add = (asked?.addCapabilities ?? []).map(normalizeName);
    const drop = (asked?.dropCapabilities ?? []).map(normalizeName);
    if (add.includes('ALL')) set = new Set(all);
    if (drop.includes('ALL')) set = new Set();
    for (const name of drop)
      for (const one of name === 'ALL' ? [] : expand(name, capabilityNames, 'drop')) set.delete(one);
    for (const name of add) for (const one of name === 'ALL' ? [] : expand(name, capabilityNames, 'add')) set.add(one);
    for (const name of ambient) set.add(name);
    for (const name of add) refuseUnavailable(name, options.available);
  }
  const list = capabilityNames.filter((name) => set.has(name) && options.available.has(name));
  return { bounding: list, effective: list, permitted: list, inheritable: ambient, ambient };
}

function normalizeName(name: string): string {
  const upper = name.toUpperCase();
  return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}

function expand(name: string, all: readonly string[], what: 'add' | 'drop'): string[] {
  const normal = normalizeName(name);
  if (normal === 'ALL') return [...all];
  if (!capabilityNames.includes(normal)) throw invalid(`unknown capability "${normal}" to ${what}`);
  return [normal];
}

function refuseUnavailable(name: string, available: ReadonlySet<string>): void {
  if (name !== 'ALL' && !available.has(name))
    throw invalid(`capability "${name}" cannot be added: this machine does not grant it to the runtime`);
}

import { readFile } from 'node:fs/promises';
import { arch } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { SecurityProfile_ProfileType as ProfileType, type SecurityProfile } from '../../../api/cri/index.ts';
import { invalid, RuntimeError } from '../../errors.ts';
import type { OciSeccomp } from './oci-spec.ts';
import { alwaysAllowed, byCapability, namespaceFlags, onArm, personalities } from './seccomp-default.ts';

const architectures: Readonly<Record<string, string[]>> = {
  // Not x32: kernels of distributions lack it, and each one more makes every start and exec 3 ms slower.
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

/**
 * The filter of a container's system calls; undefined means none. No profile at all means unconfined, as does
 * `privileged`; a profile without a type is RuntimeDefault.
 */
export async function resolveSeccomp(options: {
  profile: SecurityProfile | undefined;
  /** The older field: `runtime/default`, `docker/default`, `unconfined`, `localhost/<path>`. */
  profilePath: string;
  privileged: boolean;
  capabilities: readonly string[];
  profileRoot: string;
}): Promise<OciSeccomp | undefined> {
  const profile = options.profile ?? parseProfilePath(options.profilePath);
  if (options.privileged || !profile || profile.profileType === ProfileType.Unconfined) return undefined;
  if (profile.profileType === ProfileType.RuntimeDefault) return defaultSeccomp(options.capabilities);
  const { localhostRef } = profile;
  if (!localhostRef) throw invalid('seccomp profile of type Localhost names no file');
  const path = isAbsolute(localhostRef) ? localhostRef : join(options.profileRoot, localhostRef);
  try {
    return JSON.parse(await readFile(path, 'utf8')) as OciSeccomp;
  } catch (cause) {
    const message = `failed to load seccomp profile "${path}": ${(cause as Error).message}`;
    throw new RuntimeError('UNKNOWN', message, { cause });
  }
}

function parseProfilePath(path: string): Pick<SecurityProfile, 'profileType' | 'localhostRef'> | undefined {
  if (path === '' || path === 'unconfined') return undefined;
  if (path === 'runtime/default' || path === 'docker/default')
    return { profileType: ProfileType.RuntimeDefault, localhostRef: '' };
  if (path.startsWith('localhost/'))
    return { profileType: ProfileType.Localhost, localhostRef: path.slice('localhost/'.length) };
  throw invalid(`seccomp profile "${path}" is not known`);
}

/** The RuntimeDefault profile for a set of capabilities. */
export function defaultSeccomp(capabilities: readonly string[]): OciSeccomp {
  const key = capabilities.join(' ');
  const known = defaults.get(key) ?? makeDefault(capabilities);
  // As many as there are sets of capabilities in use, which are few; a client could think of many.
  if (defaults.size >= 100) defaults.clear();
  defaults.set(key, known);
  return known;
}

const defaults = new Map<string, OciSeccomp>();

function makeDefault(capabilities: readonly string[]): OciSeccomp {
  const allow = 'SCMP_ACT_ALLOW';
  const granted = capabilities.flatMap((name) => byCapability[name]?.split(' ') ?? []);
  const namespaces = capabilities.includes('CAP_SYS_ADMIN');
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    architectures: architectures[arch()] ?? [],
    syscalls: [
      { names: [...new Set([...alwaysAllowed, ...(arch() === 'arm64' ? onArm : []), ...granted])], action: allow },
      ...personalities.map((value) => ({
        names: ['personality'],
        action: allow,
        args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
      })),
      // 40 is AF_VSOCK, which would reach past every network namespace to the hypervisor.
      { names: ['socket'], action: allow, args: [{ index: 0, value: 40, op: 'SCMP_CMP_NE' }] },
      ...(namespaces
        ? []
        : [
            {
              names: ['clone'],
              action: allow,
              args: [{ index: 0, value: namespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
            },
            // Its flags lie in memory, where a filter cannot look: programs then fall back to clone.
            { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
          ]),
    ],
  };
}

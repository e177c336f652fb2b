import { readFileSync } from 'node:fs';
import {
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType as ProfileType,
  type SELinuxOption,
} from '../../../api/cri/index.ts';
import { invalid } from '../../errors.ts';
import { appArmorProfile, type SecurityModules } from './security.ts';

/** What the kernel's security modules are told of a container. */
export interface SecurityLabels {
  apparmorProfile?: string;
  /** The process. */
  selinuxLabel?: string;
  /** Its files. */
  mountLabel?: string;
}

/**
 * The labels of a container; none where the kernel has no module for them, and none for a privileged container.
 * @throws RuntimeError INVALID_ARGUMENT for a profile that is not loaded or a level that is none
 */
export function resolveLabels(
  context: LinuxContainerSecurityContext | undefined,
  kernel: SecurityModules,
): SecurityLabels {
  const labels: SecurityLabels = {};
  if (!context) return labels;
  const profile = appArmorProfile(context);
  if (kernel.apparmor && profile.profileType === ProfileType.Localhost && !context.privileged) {
    labels.apparmorProfile = profile.localhostRef.replace(/^localhost\//, '');
    refuseUnlessLoaded(labels.apparmorProfile);
  }
  if (kernel.selinux && context.selinuxOptions && !context.privileged)
    Object.assign(labels, selinuxLabels(context.selinuxOptions));
  return labels;
}

const loadedProfiles = '/sys/kernel/security/apparmor/profiles';

function refuseUnlessLoaded(profile: string): void {
  let loaded: string;
  try {
    loaded = readFileSync(loadedProfiles, 'utf8');
  } catch {
    // Without the file the OCI runtime finds out.
    return;
  }
  if (!loaded.split('\n').some((line) => line.startsWith(`${profile} (`)))
    throw invalid(`AppArmor profile "${profile}" is not loaded on this machine`);
}

function selinuxLabels({ user, role, type, level }: SELinuxOption): SecurityLabels {
  const category = 'c\\d+';
  const levelPattern = new RegExp(`^s\\d+(-s\\d+)?(:${category}([.,]${category})*)?$`);
  if (level && !levelPattern.test(level)) throw invalid(`SELinux level "${level}" is not of the form s0:c1,c2`);
  for (const [name, value] of Object.entries({ user, role, type }))
    if (value && !/^[\w.]+$/.test(value)) throw invalid(`SELinux ${name} "${value}" is no ${name}`);
  const range = level || 's0';
  return {
    selinuxLabel: `${user || 'system_u'}:${role || 'system_r'}:${type || 'container_t'}:${range}`,
    mountLabel: `${user || 'system_u'}:object_r:container_file_t:${range}`,
  };
}

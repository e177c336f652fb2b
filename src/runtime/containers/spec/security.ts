import type { SELinuxOption } from '../../../api/cri/index.ts';
import { SecurityProfile_ProfileType as ProfileType, type SecurityProfile } from '../../../api/cri/index.ts';
import { invalid } from '../../errors.ts';

/** What the kernel of this machine has. */
export interface SecurityModules {
  apparmor: boolean;
  selinux: boolean;
}

/** The parts of a container's and of a sandbox's security context that depend on the kernel. */
export interface ModuleSettings {
  apparmor?: SecurityProfile | undefined;
  /** The older field: `runtime/default`, `unconfined`, `localhost/<profile>`. */
  apparmorProfile?: string;
  selinuxOptions?: SELinuxOption | undefined;
}

/** Refuses confinement that this kernel cannot give, by name. @throws RuntimeError INVALID_ARGUMENT */
export function refuseUnsupportedSecurity(kernel: SecurityModules, settings: ModuleSettings): void {
  const profile = appArmorProfile(settings);
  if (profile.profileType === ProfileType.Localhost && !kernel.apparmor)
    throw invalid(
      `AppArmor profile "${profile.localhostRef}" is asked for, but AppArmor is not enabled on this machine`,
    );
  const options = settings.selinuxOptions;
  const asked = options && (options.level || options.type || options.role || options.user);
  if (asked && !kernel.selinux)
    throw invalid(`SELinux options are given (${describe(options)}), but SELinux is not enabled on this machine`);
}

const describe = ({ user, role, type, level }: SELinuxOption): string => `${user}:${role}:${type}:${level}`;

/** The AppArmor profile that is asked for: the newer field goes before the older. */
export function appArmorProfile(settings: ModuleSettings): { profileType: ProfileType; localhostRef: string } {
  if (settings.apparmor) return settings.apparmor;
  const text = settings.apparmorProfile ?? '';
  if (text === '' || text === 'runtime/default') return { profileType: ProfileType.RuntimeDefault, localhostRef: '' };
  if (text === 'unconfined') return { profileType: ProfileType.Unconfined, localhostRef: '' };
  const [, localhostRef] = /^localhost\/(.+)$/.exec(text) ?? [];
  if (!localhostRef) throw invalid(`AppArmor profile "${text}" is not known`);
  return { profileType: ProfileType.Localhost, localhostRef };
}

import { readFile } from 'node:fs/promises';
import {
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType as ProfileType,
  SupplementalGroupsPolicy,
} from '../../../api/cri/index.ts';
import { resolveCapabilities } from '../../containers/spec/capabilities.ts';
import { appArmorProfile } from '../../containers/spec/security.ts';
import { invalid, RuntimeError } from '../../errors.ts';
import type { DockerContext } from '../docker-context.ts';

/** The parts of `HostConfig` that confine a container. */
export interface SecurityOptions {
  Privileged: boolean;
  SecurityOpt: string[];
  CapAdd: string[];
  CapDrop: string[];
  GroupAdd: string[];
  ReadonlyRootfs: boolean;
  MaskedPaths?: string[];
  ReadonlyPaths?: string[];
  Devices?: object[];
  DeviceCgroupRules?: string[];
}

/** What a security context asks for, in the engine's words. @throws RuntimeError for what the engine cannot do */
export async function securityOptions(
  security: LinuxContainerSecurityContext | undefined,
  { kernel, unknownCapabilities }: Pick<DockerContext, 'kernel' | 'unknownCapabilities'>,
): Promise<SecurityOptions> {
  if (security?.supplementalGroupsPolicy === SupplementalGroupsPolicy.Strict)
    throw new RuntimeError(
      'FAILED_PRECONDITION',
      'supplemental groups of policy Strict are not supported by the Docker Engine',
    );
  const ambient = security?.capabilities?.addAmbientCapabilities ?? [];
  if (ambient.length > 0)
    throw new RuntimeError('FAILED_PRECONDITION', 'ambient capabilities are not supported by the Docker Engine');
  const privileged = security?.privileged ?? false;
  const { bounding = [] } =
    resolveCapabilities(security?.capabilities, { privileged, available: kernel.capabilities }) ?? {};
  for (const name of security?.capabilities?.addCapabilities ?? [])
    if (unknownCapabilities.has(`CAP_${name.toUpperCase().replace(/^CAP_/, '')}`))
      throw new RuntimeError(
        'FAILED_PRECONDITION',
        `capability "${name}" cannot be added: this Docker Engine does not know it`,
      );
  const common = {
    GroupAdd: (security?.supplementalGroups ?? []).map(String),
    ReadonlyRootfs: security?.readonlyRootfs ?? false,
    // Told one by one: the engine gives "all" without a look at what this machine lets it give.
    CapDrop: ['ALL'],
    CapAdd: bounding.filter((name) => !unknownCapabilities.has(name)),
  };
  if (privileged && kernel.mayLowerOomScore)
    return { ...common, Privileged: true, SecurityOpt: [], CapAdd: [], CapDrop: [] };
  if (privileged) return { ...common, ...almostPrivileged };
  return {
    ...common,
    Privileged: false,
    SecurityOpt: await profiles(security, kernel.apparmor),
    ...paths(security),
  };
}

/**
 * Where the machine withholds a capability (that of raising limits is such), the engine cannot start what it calls
 * privileged. This is all of it but that.
 */
const almostPrivileged = {
  Privileged: false,
  SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined', 'label=disable'],
  MaskedPaths: [],
  ReadonlyPaths: [],
  Devices: [{ PathOnHost: '/dev', PathInContainer: '/dev', CgroupPermissions: 'rwm' }],
  DeviceCgroupRules: ['a *:* rwm'],
};

/** No paths at all means that nothing is said of them: then the engine's own are hidden. */
function paths(security: LinuxContainerSecurityContext | undefined) {
  const { maskedPaths = [], readonlyPaths = [] } = security ?? {};
  if (maskedPaths.length === 0 && readonlyPaths.length === 0) return {};
  return { MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths };
}

async function profiles(security: LinuxContainerSecurityContext | undefined, hasAppArmor: boolean): Promise<string[]> {
  const options = security?.noNewPrivs ? ['no-new-privileges:true'] : [];
  options.push(...(await seccomp(security)));
  if (hasAppArmor) {
    const { profileType, localhostRef } = appArmorProfile(security ?? {});
    if (profileType === ProfileType.Unconfined) options.push('apparmor=unconfined');
    if (profileType === ProfileType.Localhost) options.push(`apparmor=${localhostRef}`);
  }
  const { user = '', role = '', type = '', level = '' } = security?.selinuxOptions ?? {};
  for (const [name, value] of Object.entries({ user, role, type, level }))
    if (value) options.push(`label=${name}:${value}`);
  return options;
}

/** The engine has a profile of its own for RuntimeDefault; of others it takes the content. */
async function seccomp(security: LinuxContainerSecurityContext | undefined): Promise<string[]> {
  const { profileType, localhostRef } = seccompProfile(security);
  if (profileType === ProfileType.RuntimeDefault) return [];
  if (profileType === ProfileType.Unconfined) return ['seccomp=unconfined'];
  if (!localhostRef.startsWith('/')) throw invalid(`seccomp profile "${localhostRef}" is no absolute path`);
  const text = await readFile(localhostRef, 'utf8').catch((cause: Error) => {
    throw invalid(`cannot read seccomp profile ${localhostRef}: ${cause.message}`);
  });
  return [`seccomp=${text}`];
}

function seccompProfile(security: LinuxContainerSecurityContext | undefined) {
  if (security?.seccomp) return security.seccomp;
  // The older field.
  const text = security?.seccompProfilePath ?? '';
  if (text === 'runtime/default' || text === 'docker/default')
    return { profileType: ProfileType.RuntimeDefault, localhostRef: '' };
  if (text.startsWith('localhost/'))
    return { profileType: ProfileType.Localhost, localhostRef: text.slice('localhost/'.length) };
  return { profileType: ProfileType.Unconfined, localhostRef: '' };
}

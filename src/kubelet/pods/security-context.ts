import { isAbsolute, join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type LinuxContainerSecurityContextSchema,
  type LinuxSandboxSecurityContextSchema,
  NamespaceMode,
  type NamespaceOptionSchema,
  SecurityProfile_ProfileType as ProfileType,
  type SecurityProfileSchema,
  SupplementalGroupsPolicy,
} from '../../api/cri/index.ts';
import type {
  AppArmorProfile,
  Container,
  Pod,
  SELinuxOptions,
  SeccompProfile,
  SecurityContext,
} from '../../api/index.ts';
import { PodError } from '../errors.ts';
import { maskedPaths, readOnlyPaths } from '../security/masked-paths.ts';
import type { UserNamespace } from '../security/user-namespaces.ts';

/** What of the node matters for security contexts. */
export interface SecurityDefaults {
  /** Containers without a seccomp profile get the runtime's default instead of none. */
  seccompDefault: boolean;
  /** Where Localhost seccomp profiles are: `<root>/seccomp`. */
  seccompDirectory: string;
}

/** The user of an image, as the runtime tells it. */
export interface ImageUser {
  uid?: number;
  username: string;
}

/** The namespaces that a pod's containers share with it or with the host. */
export function namespaceOptions(
  pod: Pod,
  usernsOptions: UserNamespace,
): MessageInitShape<typeof NamespaceOptionSchema> {
  const { hostNetwork, hostIPC, hostPID, shareProcessNamespace } = pod.spec!;
  return {
    network: hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    ipc: hostIPC ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: hostPID ? NamespaceMode.NODE : shareProcessNamespace ? NamespaceMode.POD : NamespaceMode.CONTAINER,
    usernsOptions,
  };
}

/** The security context of a pod's sandbox. */
export function sandboxSecurityContext(
  pod: Pod,
  users: UserNamespace,
): MessageInitShape<typeof LinuxSandboxSecurityContextSchema> {
  const context = pod.spec!.securityContext ?? {};
  const privileged = everyContainer(pod).some((container) => container.securityContext?.privileged);
  return {
    namespaceOptions: namespaceOptions(pod, users),
    privileged,
    supplementalGroups: supplementalGroups(pod),
    supplementalGroupsPolicy: groupsPolicy(pod),
    // The sandbox itself runs nothing of the user's: a profile made for that might not let it start.
    seccomp: { profileType: ProfileType.RuntimeDefault },
    ...(context.runAsUser !== undefined ? { runAsUser: { value: BigInt(context.runAsUser) } } : {}),
    ...(context.runAsUser !== undefined && context.runAsGroup !== undefined
      ? { runAsGroup: { value: BigInt(context.runAsGroup) } }
      : {}),
    ...(context.seLinuxOptions ? { selinuxOptions: selinux(context.seLinuxOptions) } : {}),
  };
}

/**
 * The security context of a container: its own fields, and where it has none the pod's.
 * @throws PodError CreateContainerConfigError when it must not run as root but would
 */
export function containerSecurityContext(
  pod: Pod,
  container: Container,
  imageUser: ImageUser,
  defaults: SecurityDefaults,
  users: UserNamespace,
): MessageInitShape<typeof LinuxContainerSecurityContextSchema> {
  const own = container.securityContext ?? {};
  const shared = pod.spec!.securityContext ?? {};
  const runAsUser = own.runAsUser ?? shared.runAsUser;
  const runAsGroup = own.runAsGroup ?? shared.runAsGroup;
  checkNonRoot(pod, container, runAsUser, imageUser);
  const seccomp = own.privileged
    ? { profileType: ProfileType.Unconfined, localhostRef: '' }
    : seccompProfile(own.seccompProfile ?? shared.seccompProfile, defaults);
  const unmasked = own.procMount === 'Unmasked' || own.privileged;
  const selinuxOptions = own.seLinuxOptions ?? shared.seLinuxOptions;
  return {
    namespaceOptions: namespaceOptions(pod, users),
    privileged: own.privileged ?? false,
    readonlyRootfs: own.readOnlyRootFilesystem ?? false,
    noNewPrivs: own.allowPrivilegeEscalation === false && !own.privileged,
    capabilities: {
      addCapabilities: own.capabilities?.add ?? [],
      dropCapabilities: own.capabilities?.drop ?? [],
    },
    supplementalGroups: supplementalGroups(pod),
    supplementalGroupsPolicy: groupsPolicy(pod),
    seccomp,
    ...appArmor(pod, container, own, shared.appArmorProfile),
    maskedPaths: unmasked ? [] : [...maskedPaths()],
    readonlyPaths: unmasked ? [] : [...readOnlyPaths],
    ...(runAsUser !== undefined
      ? { runAsUser: { value: BigInt(runAsUser) } }
      : imageUser.uid !== undefined
        ? { runAsUser: { value: BigInt(imageUser.uid) } }
        : { runAsUsername: imageUser.username }),
    ...(runAsGroup !== undefined ? { runAsGroup: { value: BigInt(runAsGroup) } } : {}),
    ...(selinuxOptions ? { selinuxOptions: selinux(selinuxOptions) } : {}),
  };
}

/** The greatest id that a user may have. */
const greatestId = 2 ** 31 - 1;

function checkNonRoot(pod: Pod, container: Container, runAsUser: number | undefined, imageUser: ImageUser): void {
  const nonRoot = container.securityContext?.runAsNonRoot ?? pod.spec!.securityContext?.runAsNonRoot;
  if (!nonRoot) return;
  const where = `(pod: "${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})", container: ${container.name})`;
  const fail = (message: string): never => {
    throw new PodError('CreateContainerConfigError', `${message} ${where}`);
  };
  if (runAsUser !== undefined) {
    if (runAsUser === 0) fail("container's runAsUser breaks non-root policy");
    return;
  }
  if (imageUser.uid === 0) fail('container has runAsNonRoot and image will run as root');
  if (imageUser.uid !== undefined && (imageUser.uid < 0 || imageUser.uid > greatestId)) {
    const range = `must be between 0 and ${greatestId}, inclusive`;
    fail(
      `container has runAsNonRoot and image has an invalid user id (${imageUser.uid}). (Must be 1-(${greatestId})): ${range}`,
    );
  }
  if (imageUser.uid === undefined && imageUser.username) {
    fail(
      `container has runAsNonRoot and image has non-numeric user (${imageUser.username}), cannot verify user is non-root`,
    );
  }
}

function seccompProfile(
  profile: SeccompProfile | undefined,
  defaults: SecurityDefaults,
): MessageInitShape<typeof SecurityProfileSchema> {
  switch (profile?.type) {
    case 'RuntimeDefault':
      return { profileType: ProfileType.RuntimeDefault };
    case 'Localhost': {
      const file = profile.localhostProfile ?? '';
      if (file === '')
        throw new PodError(
          'CreateContainerConfigError',
          'localhostProfile must be set if seccompProfile type is Localhost.',
        );
      if (isAbsolute(file) || file.split('/').includes('..')) {
        throw new PodError('CreateContainerConfigError', `seccomp profile ${file} is outside the profile directory`);
      }
      return { profileType: ProfileType.Localhost, localhostRef: join(defaults.seccompDirectory, file) };
    }
    case 'Unconfined':
      return { profileType: ProfileType.Unconfined };
    default:
      return { profileType: defaults.seccompDefault ? ProfileType.RuntimeDefault : ProfileType.Unconfined };
  }
}

/** AppArmor by the field or, for older pods, by annotation; nothing when the pod says nothing. */
function appArmor(
  pod: Pod,
  container: Container,
  own: SecurityContext,
  shared: AppArmorProfile | undefined,
): { apparmor?: MessageInitShape<typeof SecurityProfileSchema>; apparmorProfile?: string } {
  if (own.privileged) return {};
  const annotation = pod.metadata.annotations?.[`container.apparmor.security.beta.kubernetes.io/${container.name}`];
  const profile = own.appArmorProfile ?? fromAnnotation(annotation) ?? shared;
  switch (profile?.type) {
    case 'RuntimeDefault':
      return { apparmor: { profileType: ProfileType.RuntimeDefault }, apparmorProfile: 'runtime/default' };
    case 'Unconfined':
      return { apparmor: { profileType: ProfileType.Unconfined }, apparmorProfile: 'unconfined' };
    case 'Localhost': {
      const name = profile.localhostProfile ?? '';
      return {
        apparmor: { profileType: ProfileType.Localhost, localhostRef: name },
        apparmorProfile: `localhost/${name}`,
      };
    }
    default:
      return {};
  }
}

function fromAnnotation(text: string | undefined): AppArmorProfile | undefined {
  if (text === 'runtime/default') return { type: 'RuntimeDefault' };
  if (text === 'unconfined') return { type: 'Unconfined' };
  if (text?.startsWith('localhost/')) return { type: 'Localhost', localhostProfile: text.slice('localhost/'.length) };
  return undefined;
}

function supplementalGroups(pod: Pod): bigint[] {
  const { fsGroup, supplementalGroups: groups = [] } = pod.spec!.securityContext ?? {};
  return [...(fsGroup !== undefined ? [BigInt(fsGroup)] : []), ...groups.map(BigInt)];
}

function groupsPolicy(pod: Pod): SupplementalGroupsPolicy {
  return pod.spec!.securityContext?.supplementalGroupsPolicy === 'Strict'
    ? SupplementalGroupsPolicy.Strict
    : SupplementalGroupsPolicy.Merge;
}

function selinux({ user = '', role = '', type = '', level = '' }: SELinuxOptions) {
  return { user, role, type, level };
}

/** The containers of all kinds of a pod. */
export function everyContainer(pod: Pod): Container[] {
  const { containers, initContainers = [], ephemeralContainers = [] } = pod.spec!;
  return [...initContainers, ...containers, ...(ephemeralContainers as Container[])];
}

import { isAbsolute } from 'node:path';
import { type Mount as CriMount, MountPropagation } from '../../api/cri/index.ts';
import type { Container, Pod, Volume, VolumeMount } from '../../api/index.ts';
import { PodError } from '../errors.ts';
import { canReadOnlyRecursively } from '../security/recursive-read-only.ts';
import { needsLabel } from '../security/selinux.ts';
import { expandVariables } from './expand.ts';
import type { PodKit } from './kit.ts';
import { runtimeHandlerOf } from './runtime-handler.ts';

/** A mount as the runtime takes it. */
export type Mount = Partial<Omit<CriMount, '$typeName' | '$unknown' | 'image'>> & {
  image?: { image: string; userSpecifiedImage: string };
};

/** What a container's mounts are made from. */
export interface MountParts {
  container: Container;
  /** Volume name → path on the host. */
  volumes: ReadonlyMap<string, string>;
  environment: ReadonlyMap<string, string>;
  signal: AbortSignal;
}

/** The volumes of a container as the runtime is to mount them. @throws PodError CreateContainerConfigError */
export async function volumeMounts(kit: PodKit, pod: Pod, parts: MountParts): Promise<Mount[]> {
  const { container, volumes, environment } = parts;
  const mounts: Mount[] = [];
  for (const [mountIndex, mount] of (container.volumeMounts ?? []).entries()) {
    const volume = pod.spec!.volumes?.find(({ name }) => name === mount.name);
    const common = {
      containerPath: isAbsolute(mount.mountPath) ? mount.mountPath : `/${mount.mountPath}`,
      readonly: (mount.readOnly ?? false) || (volume !== undefined && isReadOnlyVolume(volume)),
      recursiveReadOnly: await recursiveReadOnly(kit, pod, mount),
      propagation: propagation(mount),
      selinuxRelabel: volume !== undefined && needsLabel(volume, isReadOnlyVolume(volume)),
    };
    const subPath = expandSubPath(mount, environment);
    if (volume?.image) {
      mounts.push(await imageMount(kit, pod, volume, { ...common, imageSubPath: subPath }, parts.signal));
      continue;
    }
    const volumePath = volumes.get(mount.name);
    if (volumePath === undefined)
      throw configError(`cannot find volume "${mount.name}" to mount into container "${container.name}"`);
    const request = { container: container.name, mountIndex, volume: mount.name, volumePath, subPath };
    const hostPath = subPath ? await bindSubPath(kit, pod, request) : volumePath;
    mounts.push({ ...common, hostPath });
  }
  return mounts;
}

function bindSubPath(kit: PodKit, pod: Pod, request: Parameters<PodKit['volumes']['subPath']>[1]): Promise<string> {
  return kit.volumes.subPath(pod, request).catch((error: unknown) => {
    throw configError(
      `failed to prepare subPath for volumeMount "${request.volume}" of container "${request.container}"`,
      error,
    );
  });
}

/**
 * What nobody may write to through any container: content that follows the API, and what the pod takes read-only as a
 * whole.
 */
function isReadOnlyVolume({ configMap, secret, downwardAPI, projected, ...others }: Volume): boolean {
  if (configMap ?? secret ?? downwardAPI ?? projected) return true;
  return others.persistentVolumeClaim?.readOnly ?? others.nfs?.readOnly ?? others.csi?.readOnly ?? false;
}

/** Whether the mounts below a read-only one are to be read-only too. @throws PodError when that is asked and cannot be */
async function recursiveReadOnly(kit: PodKit, pod: Pod, mount: VolumeMount): Promise<boolean> {
  const { name, readOnly, recursiveReadOnly: wanted = 'Disabled', mountPropagation = 'None' } = mount;
  if (wanted === 'Disabled') return false;
  const refuse = (reason: string): PodError =>
    configError(`volumeMount "${name}" has recursiveReadOnly ${wanted}, but ${reason}`);
  if (!readOnly) throw refuse('it is not readOnly');
  if (mountPropagation !== 'None') throw refuse(`its mountPropagation is ${mountPropagation}`);
  const possible = await handlesRecursiveReadOnly(kit, pod);
  if (wanted === 'Enabled' && !possible)
    throw refuse('the container runtime (or the kernel) of this node does not support recursive read-only mounts');
  return possible;
}

/** Whether the runtime handler of the pod can make mounts read-only with all below them. */
export async function handlesRecursiveReadOnly(kit: Pick<PodKit, 'node' | 'objects'>, pod: Pod): Promise<boolean> {
  return canReadOnlyRecursively(kit.node.node(), await runtimeHandlerOf(kit, pod));
}

/** An image as a volume: the runtime mounts it. */
async function imageMount(kit: PodKit, pod: Pod, volume: Volume, common: Mount, signal: AbortSignal): Promise<Mount> {
  const { reference = '', pullPolicy } = volume.image!;
  const wanted = { name: volume.name, image: reference, ...(pullPolicy ? { imagePullPolicy: pullPolicy } : {}) };
  const { ref } = await kit.images.ensure(pod, wanted, { signal });
  return { ...common, readonly: true, image: { image: ref, userSpecifiedImage: reference } };
}

function expandSubPath(mount: VolumeMount, environment: ReadonlyMap<string, string>): string {
  let { subPath = '' } = mount;
  if (mount.subPathExpr) {
    let missing: string | undefined;
    subPath = expandVariables(mount.subPathExpr, (name) => {
      const value = environment.get(name);
      if (value === undefined) missing ??= name;
      return value;
    });
    if (missing) throw configError(`missing value for "${missing}"`);
  }
  if (subPath === '') return '';
  if (isAbsolute(subPath)) throw configError(`error SubPath \`${subPath}\` must not be an absolute path`);
  if (subPath.split('/').includes('..'))
    throw configError(`unable to provision SubPath \`${subPath}\`: must not contain '..'`);
  return subPath;
}

function propagation({ mountPropagation }: VolumeMount): MountPropagation {
  if (mountPropagation === 'HostToContainer') return MountPropagation.PROPAGATION_HOST_TO_CONTAINER;
  if (mountPropagation === 'Bidirectional') return MountPropagation.PROPAGATION_BIDIRECTIONAL;
  return MountPropagation.PROPAGATION_PRIVATE;
}

function configError(message: string, cause?: unknown): PodError {
  return new PodError('CreateContainerConfigError', message, cause === undefined ? {} : { cause });
}

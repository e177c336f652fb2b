import type { ContainerConfig, Mount } from '../../../api/cri/index.ts';
import { MountPropagation } from '../../../api/cri/index.ts';
import { hostPath } from '../../containers/host-path.ts';
import { invalid, RuntimeError } from '../../errors.ts';
import type { Engine } from '../engine/index.ts';

const propagation: Readonly<Record<MountPropagation, string>> = {
  [MountPropagation.PROPAGATION_PRIVATE]: 'rprivate',
  [MountPropagation.PROPAGATION_HOST_TO_CONTAINER]: 'rslave',
  [MountPropagation.PROPAGATION_BIDIRECTIONAL]: 'rshared',
};

/** The first API versions that know images as volumes, and read-only mounts that are so all the way down. */
const since = { image: '1.48', recursiveReadOnly: '1.44' } as const;

/** A container's mounts, in the engine's words. @throws RuntimeError for what the engine cannot do */
export function engineMounts(engine: Engine, config: ContainerConfig): Promise<object[]> {
  return Promise.all(config.mounts.map((mount) => engineMount(engine, mount)));
}

async function engineMount(engine: Engine, mount: Mount): Promise<object> {
  if (!mount.containerPath) throw invalid('a mount needs a container path');
  if (mount.uidMappings.length > 0 || mount.gidMappings.length > 0)
    throw unsupported(`id-mapped mounts (${mount.containerPath}) are not`);
  if (mount.image?.image) return imageMount(engine, mount);
  if (mount.recursiveReadOnly) {
    if (!mount.readonly) throw invalid(`mount ${mount.containerPath}: recursively read-only, but not read-only`);
    if (mount.propagation !== MountPropagation.PROPAGATION_PRIVATE)
      throw invalid(`mount ${mount.containerPath}: recursively read-only mounts must be private`);
    if (!(await engine.speaks(since.recursiveReadOnly)))
      throw unsupported(`recursively read-only mounts (${mount.containerPath}) are not`, since.recursiveReadOnly);
  }
  return {
    Type: 'bind',
    Source: await hostPath(mount.hostPath),
    Target: mount.containerPath,
    ReadOnly: mount.readonly,
    BindOptions: {
      Propagation: propagation[mount.propagation],
      // Left alone, newer engines make read-only mounts recursive where they can, which is not what the CRI means.
      ...((await engine.speaks(since.recursiveReadOnly)) && mount.readonly
        ? { [mount.recursiveReadOnly ? 'ReadOnlyForceRecursive' : 'ReadOnlyNonRecursive']: true }
        : {}),
    },
  };
}

async function imageMount(engine: Engine, mount: Mount): Promise<object> {
  if (!(await engine.speaks(since.image)))
    throw unsupported(`images as volumes (${mount.containerPath}) are not`, since.image);
  return {
    Type: 'image',
    Source: mount.image!.image,
    Target: mount.containerPath,
    ReadOnly: true,
    ...(mount.imageSubPath ? { ImageOptions: { Subpath: mount.imageSubPath } } : {}),
  };
}

const unsupported = (what: string, version?: string): RuntimeError =>
  new RuntimeError(
    'FAILED_PRECONDITION',
    `${what} supported by this Docker Engine${version ? `: it takes one that speaks API ${version}` : ''}`,
  );

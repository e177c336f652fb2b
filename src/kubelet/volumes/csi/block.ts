import { lstat, open, rm, rmdir, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { bindMount, isMountPoint, unmount } from '../../../host/mounts/index.ts';
import type { SetUpRequest, VolumeOnDisk } from '../plugin.ts';
import { dataOf, publishContext } from './attach.ts';
import { accessModeOf, type CsiContext, driverFor, persistentSource, readSecret } from './csi-context.ts';
import { csiText } from './errors.ts';
import { podAttributes } from './publish.ts';
import { keepBlockData } from './stage.ts';
import { blockPaths, makeDirectory } from './volume-data.ts';

/**
 * Shows a block volume to a pod. The driver puts the device at `publish/<volume>/<pod>`; a bind mount of it
 * (`<volume>/dev/<pod>`) keeps it for as long as the pod has it, and a link in the pod's directory names it.
 * @returns the path of the device
 */
export async function mapDevice(context: CsiContext, request: SetUpRequest): Promise<string> {
  const { volume, pod, podUid, name, path, attachment, signal } = request;
  const source = persistentSource(volume);
  const driver = driverFor(context, source.driver, 'blockMapper.MapPodDevice failed to get CSI client', podUid);
  const places = blockPaths(context.root, name, podUid);
  const staged = await driver.can('STAGE_UNSTAGE_VOLUME');
  const object = await context.objects.get(source.driver);
  await keepBlockData(context, request);
  await makeDirectory(dirname(places.publish));
  await driver.publish(
    {
      volumeId: source.volumeHandle,
      stagingTargetPath: staged ? places.staging : '',
      targetPath: places.publish,
      publishContext: await publishContext(context, volume, attachment),
      volumeContext: {
        ...source.volumeAttributes,
        ...(object?.spec.podInfoOnMount ? podAttributes(pod, 'Persistent') : {}),
      },
      secrets: await readSecret(context, source.nodePublishSecretRef, 'NodePublishSecretRef'),
      readonly: volume.readOnly,
      use: { accessMode: accessModeOf(volume), block: true },
    },
    signal,
  );
  const info = await lstat(places.publish);
  if (!info.isBlockDevice())
    throw new Error(csiText(`blockMapper.MapPodDevice: the driver put no block device at ${places.publish}`));
  await makeDirectory(dirname(places.map));
  if (!isMountPoint(places.map)) {
    await (await open(places.map, 'a', 0o600)).close();
    bindMount(places.publish, places.map);
  }
  await makeDirectory(dirname(path));
  await symlink(places.map, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  return path;
}

/** Takes the device away from the pod, by what is kept of the volume. */
export async function unmapDevice(context: CsiContext, found: VolumeOnDisk): Promise<void> {
  const places = blockPaths(context.root, found.name, found.podUid);
  unmount(places.map);
  await rm(places.map, { force: true });
  const data = await dataOf(context, found);
  if (data) {
    const driver = driverFor(context, data.driverName, 'blockMapper.UnmapPodDevice failed to get CSI client');
    await driver.unpublish(data.volumeHandle, places.publish).catch((cause: Error) => {
      throw new Error(csiText(`blockMapper.unpublishVolumeForBlock failed: ${cause.message}`), { cause });
    });
  } else if (isMountPoint(places.publish)) {
    throw new Error(csiText(`unmapper failed to load volume data file [${places.data}]: it does not exist`));
  }
  // The driver removes what it made; the link goes last, because it is how a restart finds the volume.
  await rmdir(dirname(places.publish)).catch(() => {});
  await rm(found.path, { force: true });
}

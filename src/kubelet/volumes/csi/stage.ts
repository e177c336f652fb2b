import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { mountsUnder } from '../../../host/mounts/index.ts';
import type { DevicePhase, SetUpRequest } from '../plugin.ts';
import { dataOf, publishContext } from './attach.ts';
import { accessModeOf, type CsiContext, driverFor, persistentSource, readSecret } from './csi-context.ts';
import { csiText, isFinalError } from './errors.ts';
import { refuseSelinuxMount } from './selinux.ts';
import {
  blockPaths,
  csiDirectory,
  globalMountPath,
  loadVolumeData,
  makeDirectory,
  removeMountDirectory,
  saveVolumeData,
} from './volume-data.ts';

/**
 * Staging: once per node, before any pod's own mount. A driver that has no staging is not called, and the directory is
 * made all the same: it is the volume's identity on this node, for another kubelet too.
 */
export function csiDevicePhase(context: CsiContext): DevicePhase {
  return {
    path: (volume) => {
      if (volume.volume.csi) return undefined;
      if (volume.mode === 'Block') return blockPaths(context.root, volume.directoryName).staging;
      const { driver, volumeHandle } = persistentSource(volume);
      return globalMountPath(context.root, driver, volumeHandle);
    },
    pathOnDisk: async (found) => {
      const data = await dataOf(context, found);
      if (!data || data.volumeLifecycleMode === 'Ephemeral') return undefined;
      return found.mode === 'Block'
        ? blockPaths(context.root, found.name).staging
        : globalMountPath(context.root, data.driverName, data.volumeHandle);
    },
    mount: (request) => stage(context, request),
    unmount: (path) => unstage(context, path),
    list: () => listStaged(context.root),
  };
}

/** Where staged block volumes are. */
const stagingDirectory = (root: string): string => join(csiDirectory(root), 'volumeDevices/staging');

async function stage(context: CsiContext, request: SetUpRequest & { devicePath: string }): Promise<void> {
  const { volume, devicePath, attachment, fsGroup, signal } = request;
  const source = persistentSource(volume);
  const driver = driverFor(
    context,
    source.driver,
    'attacher.MountDevice failed to create newCsiDriverClient',
    request.podUid,
  );
  const staging = await driver.can('STAGE_UNSTAGE_VOLUME');
  const publish = await publishContext(context, volume, attachment);
  const secrets = staging ? await readSecret(context, source.nodeStageSecretRef, 'NodeStageSecretRef') : {};
  await refuseSelinuxMount(context, request, source.driver);
  const block = volume.mode === 'Block';
  const data = { volumeHandle: source.volumeHandle, driverName: source.driver };
  // A device that the driver stages as a file is made by the driver; its directory is ours all the same.
  await makeDirectory(devicePath);
  if (block) await keepBlockData(context, request);
  if (!staging) return;
  if (!block) await saveVolumeData(dirname(devicePath), data);
  const group = (await driver.can('VOLUME_MOUNT_GROUP')) ? fsGroup?.gid : undefined;
  try {
    await driver.stage(
      {
        volumeId: source.volumeHandle,
        stagingTargetPath: devicePath,
        publishContext: publish,
        volumeContext: source.volumeAttributes ?? {},
        secrets,
        use: block
          ? { accessMode: accessModeOf(volume), block }
          : {
              accessMode: accessModeOf(volume),
              fsType: source.fsType ?? '',
              mountFlags: volume.mountOptions,
              mountGroup: group,
            },
      },
      signal,
    );
  } catch (error) {
    if (isFinalError(error)) await (block ? forgetBlock(context, devicePath) : removeMountDirectory(devicePath));
    throw error;
  }
}

/** What undoing a block volume needs is beside its device's place, by the volume's name and not by the pod. */
export async function keepBlockData(context: CsiContext, { volume, name }: SetUpRequest): Promise<void> {
  const { driver, volumeHandle } = persistentSource(volume);
  const { data } = blockPaths(context.root, name);
  await makeDirectory(data);
  await saveVolumeData(data, { volumeHandle, driverName: driver, specVolID: name, nodeName: context.nodeName });
}

async function unstage(context: CsiContext, path: string): Promise<void> {
  const block = dirname(path) === stagingDirectory(context.root);
  const data = await loadVolumeData(block ? blockPaths(context.root, basename(path)).data : dirname(path));
  if (data) {
    const driver = driverFor(context, data.driverName, 'attacher.UnmountDevice failed to create newCsiDriverClient');
    if (await driver.can('STAGE_UNSTAGE_VOLUME')) {
      await driver.unstage(data.volumeHandle, path).catch((cause: Error) => {
        throw new Error(csiText(`attacher.UnmountDevice failed: ${cause.message}`), { cause });
      });
    }
  }
  if (block) return forgetBlock(context, path);
  if (!(await removeMountDirectory(path)))
    throw new Error(csiText(`failed to clean up global mount ${dirname(path)}: the driver has left it mounted`));
}

/** Removes what is kept of a block volume that is no longer staged. */
async function forgetBlock(context: CsiContext, staging: string): Promise<void> {
  const { own } = blockPaths(context.root, basename(staging));
  for (const directory of [staging, own]) {
    // What is mounted there still is a volume: removing through it would remove what is in it.
    const mounted = await mountsUnder(directory);
    if (mounted.length > 0) throw new Error(csiText(`cannot remove ${directory}: ${mounted[0]} is still mounted`));
    await rm(directory, { recursive: true, force: true });
  }
}

async function listStaged(root: string): Promise<string[]> {
  const found: string[] = [];
  const list = (directory: string): Promise<string[]> => readdir(directory).catch(() => []);
  for (const driver of await list(csiDirectory(root))) {
    if (driver === 'volumeDevices') continue;
    for (const hash of await list(join(csiDirectory(root), driver))) {
      if ((await list(join(csiDirectory(root), driver, hash))).length > 0)
        found.push(join(csiDirectory(root), driver, hash, 'globalmount'));
    }
  }
  for (const name of await list(stagingDirectory(root))) found.push(join(stagingDirectory(root), name));
  return found;
}

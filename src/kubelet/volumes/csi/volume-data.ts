import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isMountPoint } from '../../../host/mounts/index.ts';
import { csiText } from './errors.ts';

/**
 * What is kept beside a mount so that it can be undone without the pod, by this kubelet after a restart or by another one:
 * `vol_data.json` in upstream's keys.
 */
export interface VolumeData {
  volumeHandle: string;
  driverName: string;
  /** Name of the persistent volume, or of the pod's own volume. Not kept beside a staged volume. */
  specVolID?: string;
  nodeName?: string;
  attachmentID?: string;
  volumeLifecycleMode?: 'Persistent' | 'Ephemeral';
}

const fileName = 'vol_data.json';

/** Writes it into a directory, all or nothing. */
export async function saveVolumeData(directory: string, data: VolumeData): Promise<void> {
  const file = join(directory, fileName);
  const temporary = `${file}.new`;
  try {
    await writeFile(temporary, `${JSON.stringify(data)}\n`, { mode: 0o600 });
    await rename(temporary, file);
  } catch (cause) {
    throw new Error(csiText(`failed to save volume data file ${file}: ${(cause as Error).message}`), { cause });
  }
}

/** What a directory holds; undefined when it holds none. @throws Error for one that cannot be read */
export async function loadVolumeData(directory: string): Promise<VolumeData | undefined> {
  const file = join(directory, fileName);
  try {
    return JSON.parse(await readFile(file, 'utf8')) as VolumeData;
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new Error(csiText(`failed to parse volume data file [${file}]: ${(cause as Error).message}`), { cause });
  }
}

/** Makes a directory and those above it that are missing, for the kubelet and its group only. */
export async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o750 });
}

/**
 * Removes a mount's directory, the data beside it and the directory of both. Something mounted there is left as it is.
 * @returns whether it is gone
 */
export async function removeMountDirectory(mountPath: string): Promise<boolean> {
  if (isMountPoint(mountPath)) return false;
  const parent = dirname(mountPath);
  await removeEmpty(mountPath);
  await rm(join(parent, fileName), { force: true });
  await rm(join(parent, `${fileName}.new`), { force: true });
  await removeEmpty(parent);
  return true;
}

/** A directory with something in it is not ours to empty: a volume's files would be lost. */
async function removeEmpty(path: string): Promise<void> {
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT')
      throw new Error(csiText(`failed to remove dir [${path}]: ${error.message}`), { cause: error });
  });
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Name of the VolumeAttachment of a volume to a node. */
export function attachmentName(handle: string, driver: string, node: string): string {
  return `csi-${sha256(`${handle}${driver}${node}`)}`;
}

/** The handle of a volume that lives as long as its pod. */
export function inlineHandle(podUid: string, volumeName: string): string {
  return `csi-${sha256(`${podUid}${volumeName}`)}`;
}

/** Where a plugin's part of the node is: `<root>/plugins/kubernetes.io/csi`. */
export function csiDirectory(root: string): string {
  return join(root, 'plugins/kubernetes.io/csi');
}

/** Where a volume is staged: `<csi>/<driver>/<hash of the handle>/globalmount`. */
export function globalMountPath(root: string, driver: string, handle: string): string {
  return join(csiDirectory(root), driver, sha256(handle), 'globalmount');
}

/** The places of a block volume. */
export function blockPaths(root: string, volumeName: string, podUid = '') {
  const devices = join(csiDirectory(root), 'volumeDevices');
  return {
    data: join(devices, volumeName, 'data'),
    own: join(devices, volumeName),
    staging: join(devices, 'staging', volumeName),
    publish: join(devices, 'publish', volumeName, podUid),
    map: join(devices, volumeName, 'dev', podUid),
  };
}

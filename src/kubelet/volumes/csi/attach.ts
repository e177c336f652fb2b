import type { Pod, VolumeAttachment } from '../../../api/index.ts';
import type { Attachment, AttachPhase, ResolvedVolume, VolumeOnDisk } from '../plugin.ts';
import { type CsiContext, needsAttach, persistentSource, readAttachment } from './csi-context.ts';
import { attachmentName, blockPaths, loadVolumeData } from './volume-data.ts';

/** How often the node's status (which is watched) is looked at while a volume is not attached yet, milliseconds. */
const lookMs = 20;

/** Waits for what the cluster's attach-detach controller and the driver's attacher do. */
export function csiAttachPhase(context: CsiContext): AttachPhase {
  return {
    uniqueName: async (volume) => {
      if (volume.volume.csi) return undefined;
      const { driver, volumeHandle } = persistentSource(volume);
      return (await needsAttach(context, driver)) ? uniqueName(driver, volumeHandle) : undefined;
    },
    uniqueNameOnDisk: async (found) => {
      const data = await dataOf(context, found);
      if (!data || data.volumeLifecycleMode === 'Ephemeral') return undefined;
      return (await needsAttach(context, data.driverName)) ? uniqueName(data.driverName, data.volumeHandle) : undefined;
    },
    wait: (volume, _pod: Pod, signal) => waitForAttachment(context, volume, signal),
  };
}

/** What is kept of a volume that was found in a pod's directory. */
export function dataOf(context: CsiContext, { path, name, mode }: VolumeOnDisk) {
  return loadVolumeData(mode === 'Block' ? blockPaths(context.root, name).data : path);
}

/** Name of an attachable volume in a Node's status. */
export function uniqueName(driver: string, handle: string): string {
  return `kubernetes.io/csi/${driver}^${handle}`;
}

/**
 * First the node's status has to say that the volume is attached: the controller writes it there when the volume may be
 * used. Then the VolumeAttachment tells what the driver's controller says about it.
 */
async function waitForAttachment(
  context: CsiContext,
  volume: ResolvedVolume,
  signal: AbortSignal,
): Promise<Attachment> {
  const { driver, volumeHandle } = persistentSource(volume);
  const name = uniqueName(driver, volumeHandle);
  while (!context.node()?.status?.volumesAttached?.some((one) => one.name === name)) {
    await context.clock.sleep(lookMs, signal);
  }
  const attachment = attachmentName(volumeHandle, driver, context.nodeName);
  const object = await readAttachment(context, attachment, signal).catch((cause: Error) => {
    throw new Error(`volume ${volumeHandle} has GET error for volume attachment ${attachment}: ${cause.message}`, {
      cause,
    });
  });
  checkAttached(object, volumeHandle);
  return { metadata: object.status?.attachmentMetadata ?? {} };
}

function checkAttached({ metadata, status }: VolumeAttachment, handle: string): void {
  if (metadata.deletionTimestamp) throw new Error('volume attachment is being deleted');
  if (status?.attached) return;
  if (status?.attachError) throw new Error(status.attachError.message ?? 'attach error without a message');
  throw new Error(`volume ${handle} is not attached for volume attachment ${metadata.name}`);
}

/** What the driver's controller said when it attached the volume: handed to the node's calls. */
export async function publishContext(
  context: CsiContext,
  volume: ResolvedVolume,
  attachment: Attachment | undefined,
): Promise<Readonly<Record<string, string>>> {
  if (attachment?.metadata) return attachment.metadata;
  const { driver, volumeHandle } = persistentSource(volume);
  if (!(await needsAttach(context, driver))) return {};
  const object = await readAttachment(context, attachmentName(volumeHandle, driver, context.nodeName));
  return object.status?.attachmentMetadata ?? {};
}

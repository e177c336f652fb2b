import { dirname, join } from 'node:path';
import type { CSIDriver, Pod } from '../../../api/index.ts';
import { isMountPoint } from '../../../host/mounts/index.ts';
import { applyFsGroup } from '../ownership.ts';
import type { FsGroup, SetUpRequest, VolumeOnDisk } from '../plugin.ts';
import { publishContext } from './attach.ts';
import { accessModeOf, type CsiContext, driverFor, persistentSource, readSecret } from './csi-context.ts';
import { csiText, isFinalError } from './errors.ts';
import { refuseSelinuxMount } from './selinux.ts';
import {
  attachmentName,
  inlineHandle,
  loadVolumeData,
  makeDirectory,
  removeMountDirectory,
  saveVolumeData,
  type VolumeData,
} from './volume-data.ts';

/** What a volume is published as, whether it is a persistent volume's or the pod's own. */
interface Source {
  driver: string;
  handle: string;
  lifecycle: 'Persistent' | 'Ephemeral';
  fsType: string;
  accessMode: string;
  attributes: Record<string, string>;
  secret: { name?: string; namespace?: string } | undefined;
}

/** The driver's view of pods: attributes that podInfoOnMount adds. */
const podInfo = 'csi.storage.k8s.io';

/** Mounts a volume for a pod (NodePublishVolume), and again when it is mounted already. @returns where it is */
export async function publish(context: CsiContext, request: SetUpRequest): Promise<string> {
  const { pod, volume, attachment, fsGroup, signal } = request;
  const source = sourceOf(request);
  const driver = driverFor(context, source.driver, 'mounter.SetUpAt failed to get CSI client', request.podUid);
  const object = await context.objects.get(source.driver);
  checkLifecycle(source, object);
  const policy = object?.spec.fsGroupPolicy || 'ReadWriteOnceWithFSType';
  if (source.lifecycle === 'Persistent') await refuseSelinuxMount(context, request, source.driver);
  const staged = source.lifecycle === 'Persistent' && (await driver.can('STAGE_UNSTAGE_VOLUME'));
  const fromAttacher = source.lifecycle === 'Persistent' ? await publishContext(context, volume, attachment) : {};
  const target = join(request.path, 'mount');
  await makeDirectory(request.path);
  const secrets = await readSecret(context, source.secret, 'NodePublishSecretRef');
  const tokens = await tokenAttributes(context, pod, object);
  const inSecrets = object?.spec.serviceAccountTokenInSecrets === true;
  const mountsGroup = await driver.can('VOLUME_MOUNT_GROUP');
  await saveVolumeData(request.path, dataToKeep(context, request, source));
  // Published before, it is in use: nothing of it may be taken away because a renewal fails.
  const again = isMountPoint(target);
  try {
    await driver.publish(
      {
        volumeId: source.handle,
        stagingTargetPath: staged ? (request.devicePath ?? '') : '',
        targetPath: target,
        publishContext: fromAttacher,
        volumeContext: {
          ...source.attributes,
          ...(object?.spec.podInfoOnMount ? podAttributes(pod, source.lifecycle) : {}),
          ...(inSecrets ? {} : tokens),
        },
        secrets: inSecrets ? { ...secrets, ...tokens } : secrets,
        readonly: volume.readOnly,
        use: {
          accessMode: source.accessMode,
          fsType: source.fsType,
          mountFlags: volume.mountOptions,
          mountGroup: mountsGroup ? fsGroup?.gid : undefined,
        },
      },
      signal,
    );
  } catch (error) {
    if (isFinalError(error) && !again) await removeMountDirectory(target);
    throw error;
  }
  if (fsGroup && !mountsGroup && kubeletOwns(source, policy, volume.readOnly))
    await giveToGroup(target, fsGroup, source);
  return target;
}

function sourceOf({ pod, volume, podUid }: SetUpRequest): Source {
  const inline = volume.volume.csi;
  if (inline) {
    return {
      driver: inline.driver,
      handle: inlineHandle(podUid, volume.volume.name),
      lifecycle: 'Ephemeral',
      fsType: inline.fsType ?? '',
      accessMode: 'ReadWriteOnce',
      attributes: inline.volumeAttributes ?? {},
      secret: inline.nodePublishSecretRef && {
        name: inline.nodePublishSecretRef.name ?? '',
        namespace: pod.metadata.namespace ?? '',
      },
    };
  }
  const source = persistentSource(volume);
  return {
    driver: source.driver,
    handle: source.volumeHandle,
    lifecycle: 'Persistent',
    fsType: source.fsType ?? '',
    accessMode: accessModeOf(volume),
    attributes: source.volumeAttributes ?? {},
    secret: source.nodePublishSecretRef,
  };
}

/** A driver has to say in its CSIDriver that its volumes may be made for a pod alone. */
function checkLifecycle({ driver, lifecycle }: Source, object: CSIDriver | undefined): void {
  const fail = (why: string): never => {
    const text = `volume mode "${lifecycle}" not supported by driver ${driver} (${why})`;
    throw new Error(csiText(`mounter.SetupAt failed to check volume lifecycle mode: ${text}`));
  };
  if (!object) {
    if (lifecycle === 'Ephemeral') fail('no CSIDriver object');
    return;
  }
  const modes = object.spec.volumeLifecycleModes ?? ['Persistent'];
  if (!modes.includes(lifecycle)) fail(`only supports [${modes.map((mode) => JSON.stringify(mode)).join(' ')}]`);
}

/** Who the pod is, for drivers that ask for it (podInfoOnMount). */
export function podAttributes(pod: Pod, lifecycle: Source['lifecycle']): Record<string, string> {
  const { name, namespace = '', uid } = pod.metadata;
  return {
    [`${podInfo}/pod.name`]: name,
    [`${podInfo}/pod.namespace`]: namespace,
    [`${podInfo}/pod.uid`]: uid,
    [`${podInfo}/serviceAccount.name`]: pod.spec.serviceAccountName ?? '',
    [`${podInfo}/ephemeral`]: String(lifecycle === 'Ephemeral'),
  };
}

/** Tokens of the pod's service account for the audiences that the driver's CSIDriver names. */
async function tokenAttributes(
  context: CsiContext,
  pod: Pod,
  object: CSIDriver | undefined,
): Promise<Record<string, string>> {
  const requests = object?.spec.tokenRequests ?? [];
  if (requests.length === 0) return {};
  try {
    const tokens = await Promise.all(
      requests.map(async ({ audience = '', expirationSeconds }) => {
        const asked = { ...(audience ? { audience } : {}), ...(expirationSeconds ? { expirationSeconds } : {}) };
        return [audience, await context.token(pod, asked)] as const;
      }),
    );
    return { [`${podInfo}/serviceAccount.tokens`]: JSON.stringify(Object.fromEntries(tokens)) };
  } catch (cause) {
    const text = `mounter.SetUpAt failed to get service account token attributes: ${(cause as Error).message}`;
    throw new Error(csiText(text), { cause });
  }
}

function dataToKeep(context: CsiContext, { name }: SetUpRequest, source: Source): VolumeData {
  return {
    specVolID: name,
    volumeHandle: source.handle,
    driverName: source.driver,
    nodeName: context.nodeName,
    volumeLifecycleMode: source.lifecycle,
    attachmentID: attachmentName(source.handle, source.driver, context.nodeName),
  };
}

/**
 * Whether the kubelet itself gives the volume to the pod's group. By default only what one node writes to and what has a
 * file system that is named: others may be shared, or have no owners.
 */
function kubeletOwns(source: Source, policy: string, readOnly: boolean): boolean {
  if (policy === 'None' || readOnly) return false;
  if (policy === 'File') return true;
  return source.fsType !== '' && ['ReadWriteOnce', 'ReadWriteOncePod'].includes(source.accessMode);
}

async function giveToGroup(target: string, fsGroup: FsGroup, { handle }: Source): Promise<void> {
  await applyFsGroup(target, fsGroup).catch((cause: Error) => {
    throw new Error(`applyFSGroup failed for vol ${handle}: ${cause.message}`, { cause });
  });
}

/** Unmounts a pod's volume (NodeUnpublishVolume), by what is kept beside it. */
export async function unpublish(context: CsiContext, found: VolumeOnDisk): Promise<void> {
  const target = join(found.path, 'mount');
  const data = await loadVolumeData(dirname(target));
  if (data) {
    const driver = driverFor(context, data.driverName, 'Unmounter.TearDownAt failed to get CSI client');
    await driver.unpublish(data.volumeHandle, target).catch((cause: Error) => {
      throw new Error(csiText(`Unmounter.TearDownAt failed: ${cause.message}`), { cause });
    });
  } else if (isMountPoint(target)) {
    throw new Error(csiText(`unmounter failed to load volume data file [${target}]: it does not exist`));
  }
  if (!(await removeMountDirectory(target)))
    throw new Error(
      csiText(`Unmounter.TearDownAt failed to clean mount dir [${target}]: the driver has left it mounted`),
    );
}

import { join } from 'node:path';
import { quantityValue } from '../../../api/index.ts';
import type { SetUpRequest, VolumeOnDisk, VolumePlugin, VolumeUsage } from '../plugin.ts';
import { csiAttachPhase, dataOf } from './attach.ts';
import { mapDevice, unmapDevice } from './block.ts';
import { accessModeOf, type CsiContext, driverFor, persistentSource, readSecret } from './csi-context.ts';
import { publish, unpublish } from './publish.ts';
import { csiDevicePhase } from './stage.ts';
import { blockPaths } from './volume-data.ts';

/** Volumes of drivers that are programs of their own (Container Storage Interface): persistent ones and pods' own. */
export function csiVolumes(context: CsiContext): VolumePlugin {
  return {
    name: 'kubernetes.io/csi',
    supports: ({ volume, persistentVolume }) => Boolean(volume.csi ?? persistentVolume?.spec?.csi),
    setUp: (request) => (request.mode === 'Block' ? mapDevice(context, request) : publish(context, request)),
    tearDown: (found) => (found.mode === 'Block' ? unmapDevice(context, found) : unpublish(context, found)),
    follows: ({ volume, persistentVolume }) => {
      const driver = volume.csi?.driver ?? persistentVolume?.spec?.csi?.driver ?? '';
      return context.objects.peek(driver)?.spec.requiresRepublish === true;
    },
    attach: csiAttachPhase(context),
    device: csiDevicePhase(context),
    usage: (found) => usage(context, found),
    expand: (request) => expand(context, request),
  };
}

/** What the driver says about a volume; undefined when it says nothing. */
async function usage(context: CsiContext, found: VolumeOnDisk): Promise<VolumeUsage | undefined> {
  const data = await dataOf(context, found);
  if (!data || !context.drivers.has(data.driverName)) return undefined;
  const driver = context.drivers.client(data.driverName);
  if (!(await driver.can('GET_VOLUME_STATS'))) return undefined;
  const path =
    found.mode === 'Block' ? blockPaths(context.root, found.name, found.podUid).map : join(found.path, 'mount');
  const { VolumeUsage_Unit: Unit } = await import('../../../api/csi/index.ts');
  const answer = await driver.statistics(data.volumeHandle, path);
  const result: VolumeUsage = {};
  for (const { unit, total, used, available } of answer.usage) {
    if (unit === Unit.BYTES) {
      Object.assign(result, {
        capacityBytes: Number(total),
        usedBytes: Number(used),
        availableBytes: Number(available),
      });
    } else if (unit === Unit.INODES) {
      Object.assign(result, { inodes: Number(total), inodesUsed: Number(used), inodesFree: Number(available) });
    }
  }
  const { volumeCondition } = answer;
  if (volumeCondition && (await driver.can('VOLUME_CONDITION'))) result.abnormal = volumeCondition.abnormal;
  return result;
}

/** Grows what is on the node after the persistent volume itself has grown. A driver that has no such step is not called. */
async function expand(context: CsiContext, request: SetUpRequest): Promise<boolean> {
  const { volume, devicePath, signal } = request;
  const source = persistentSource(volume);
  const wanted = volume.persistentVolume?.spec?.capacity?.['storage'] ?? '0';
  const driver = driverFor(context, source.driver, 'Expander.NodeExpand failed to get CSI client');
  if (!(await driver.can('EXPAND_VOLUME'))) return false;
  const block = volume.mode === 'Block';
  const staged = await driver.can('STAGE_UNSTAGE_VOLUME');
  await driver.expand(
    {
      volumeId: source.volumeHandle,
      volumePath: block ? blockPaths(context.root, request.name, request.podUid).publish : join(request.path, 'mount'),
      stagingTargetPath: staged ? (devicePath ?? '') : '',
      requiredBytes: quantityValue(wanted),
      secrets: await readSecret(context, source.nodeExpandSecretRef, 'NodeExpandSecretRef'),
      use: block
        ? { accessMode: accessModeOf(volume), block }
        : { accessMode: accessModeOf(volume), fsType: source.fsType ?? '', mountFlags: volume.mountOptions },
    },
    signal,
  );
  return true;
}

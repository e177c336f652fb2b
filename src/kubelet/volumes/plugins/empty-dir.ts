import { chmod, mkdir } from 'node:fs/promises';
import { quantityValue } from '../../../api/index.ts';
import { mountTmpfs } from '../../../host/mounts/index.ts';
import { isMounted } from '../mounted.ts';
import { applyFsGroup } from '../ownership.ts';
import type { SetUpRequest, VolumePlugin } from '../plugin.ts';
import { tearDownUnknown } from '../remove-pod-directory.ts';
import { VolumeError } from '../volume-error.ts';

/** Directories that live and die with their pod: on disk, or in memory. */
export function emptyDirPlugin(): VolumePlugin {
  return {
    name: 'kubernetes.io/empty-dir',
    supports: ({ volume }) => volume.emptyDir !== undefined,
    setUp,
    tearDown: tearDownUnknown,
    usage: 'tree',
  };
}

async function setUp({ volume, path, fsGroup }: SetUpRequest): Promise<string> {
  const { medium = '', sizeLimit } = volume.volume.emptyDir!;
  if (medium !== '' && medium !== 'Memory')
    throw new VolumeError('INVALID', `emptyDir medium ${JSON.stringify(medium)} is not supported`);
  await mkdir(path, { recursive: true, mode: 0o777 });
  const mounted = medium === 'Memory' && (await isMounted(path));
  if (medium === 'Memory' && !mounted)
    mountTmpfs(path, { mode: 0o777, ...(sizeLimit ? { sizeBytes: quantityValue(sizeLimit) } : {}) });
  if (!mounted) await chmod(path, 0o777);
  if (fsGroup) await applyFsGroup(path, fsGroup);
  return path;
}

import { stat } from 'node:fs/promises';
import type { RuntimeContext } from '../context.ts';
import { invalid, notFound, unlessMissing } from '../errors.ts';
import type { RootOwner } from '../snapshots/index.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { resolveInRoot } from './spec/root-path.ts';

/**
 * Mounts the images that a container has as volumes; gives their host paths by container path. The record then tells which
 * image each one is.
 */
export async function mountImageVolumes(
  context: RuntimeContext,
  record: ContainerRecord,
  owner: RootOwner | undefined,
): Promise<Map<string, string>> {
  const paths = new Map<string, string>();
  for (const [index, mount] of record.config.mounts.entries()) {
    if (!mount.image?.image) continue;
    if (!mount.readonly) throw invalid(`image volume at ${mount.containerPath} must be read-only`);
    const image = context.images.status(mount.image.image);
    if (!image) throw notFound('image', mount.image.image);
    mount.image.imageRef = image.id;
    const key = `${record.id}-volume${index}`;
    record.imageMounts.push(key);
    const root = await context.rootfs.mountImage(image.id, key, owner);
    const path = await resolveInRoot(root, mount.imageSubPath);
    const found = await unlessMissing(stat(path));
    if (!found?.isDirectory())
      throw invalid(`sub path "${mount.imageSubPath}" of image volume "${mount.image.image}" is not a directory in it`);
    paths.set(mount.containerPath, path);
  }
  return paths;
}

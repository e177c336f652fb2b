import { mkdir, readdir, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IDMapping, Mount } from '../../api/cri/index.ts';
import { mountMapped, unmount } from '../../host/mounts/index.ts';
import { openUserNamespace, type UserMapping } from '../../host/namespaces/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, RuntimeError, unlessMissing } from '../errors.ts';

const toMappings = (mappings: readonly IDMapping[]) =>
  mappings.map(({ containerId, hostId, length }) => ({ containerId, hostId, length }));

/**
 * Shows volumes that are to have other owners (`uidMappings`, `gidMappings`) at places of the container, and gives these
 * by the path that they stand for. OCI runtimes do it themselves only since runc 1.2 and crun 1.9.
 *
 * They are unmounted before anything below their directory is removed, and removed one by one, never as a tree.
 */
export async function mountMappedVolumes(
  context: RuntimeContext,
  id: string,
  mounts: readonly { mount: Mount; source: string }[],
): Promise<Map<Mount, string>> {
  const places = new Map<Mount, string>();
  for (const [index, { mount, source }] of mounts.entries()) {
    if (mount.uidMappings.length === 0 || mount.gidMappings.length === 0)
      throw invalid(`mount ${mount.containerPath}: uid mappings and gid mappings belong together`);
    const place = join(directoryOf(context, id), String(index));
    const isDirectory = (await stat(source)).isDirectory();
    await mkdir(isDirectory ? place : directoryOf(context, id), { recursive: true, mode: 0o711 });
    if (!isDirectory) await writeFile(place, '');
    const mapping: UserMapping = { uids: toMappings(mount.uidMappings), gids: toMappings(mount.gidMappings) };
    try {
      using namespace = await openUserNamespace(mapping);
      mountMapped(source, place, namespace.descriptor, { recursive: true });
    } catch (cause) {
      const message = `mount ${mount.containerPath}: the file system of ${source} cannot be shown with other owners: ${(cause as Error).message}`;
      throw new RuntimeError('FAILED_PRECONDITION', message, { cause });
    }
    places.set(mount, place);
  }
  return places;
}

/** Takes the places of a container away; the container, once it is made, does not need them. */
export async function unmountMappedVolumes(context: RuntimeContext, id: string): Promise<void> {
  const directory = directoryOf(context, id);
  const names = await unlessMissing(readdir(directory));
  if (!names) return;
  for (const name of names) {
    const place = join(directory, name);
    unmount(place);
    await rmdir(place).catch(() => unlink(place));
  }
  await rmdir(directory);
}

/** Takes away the places of containers that nobody knows. */
export async function collectMappedVolumes(context: RuntimeContext): Promise<void> {
  for (const id of (await unlessMissing(readdir(join(context.settings.state, 'mapped')))) ?? [])
    if (!context.store.containers.find(id)) await unmountMappedVolumes(context, id);
}

const directoryOf = (context: RuntimeContext, id: string): string => join(context.settings.state, 'mapped', id);

import type { RuntimeContext } from './context.ts';
import type { StoreFinding } from './images/index.ts';

/** What removing images has brought. */
export interface Pruned {
  /** Names, or ids of those without. */
  images: string[];
  layers: number;
  bytes: number;
}

/**
 * Removes images that no container and no image volume uses, and that are not pinned: those without a tag, or all.
 * Then layers that nobody needs.
 */
export async function pruneImages(context: RuntimeContext, options: { all: boolean }): Promise<Pruned> {
  const used = new Set([
    ...(await context.rootfs.imagesInUse()),
    ...context.store.containers.list().map(({ image }) => image.id),
  ]);
  const images: string[] = [];
  const before = await context.images.fsInfo();
  for (const { id, repoTags, pinned } of context.images.list()) {
    if (pinned || used.has(id) || (!options.all && repoTags.length > 0)) continue;
    await context.images.remove(id);
    images.push(repoTags[0] ?? id);
  }
  const { layers, bytes } = await context.images.collect();
  const after = await context.images.fsInfo();
  return { images, layers, bytes: Math.max(bytes, before.usedBytes - after.usedBytes) };
}

/** Looks for anything in the directories of images and roots that nobody owns, is missing or was changed. */
export async function checkImages(context: RuntimeContext, options: { deep: boolean }): Promise<StoreFinding[]> {
  const known = new Set(context.store.containers.list().flatMap(({ id, imageMounts }) => [id, ...imageMounts]));
  const strays = (await context.rootfs.list()).filter((key) => !known.has(key));
  return [
    ...(await context.images.check(options)),
    ...strays.map((subject) => ({
      subject,
      problem: 'is a root file system of no container: it goes at the next start',
    })),
  ];
}

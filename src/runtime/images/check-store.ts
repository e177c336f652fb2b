import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkDigest, hashFor } from './digest.ts';
import type { ImageIndex } from './image-index.ts';
import { temporaryPrefix } from './import-leftovers.ts';
import type { LayerStore } from './layer-store.ts';

/** Something in a store that should not be so. */
export interface StoreFinding {
  /** A path, an image or a layer. */
  subject: string;
  problem: string;
}

const knownNames = ['images.json', 'images.json.new', 'configurations', 'layers'];

/** Looks for what nobody owns, what is missing, and (deep) what is no longer as it came. Changes nothing. */
export async function checkStore(options: {
  root: string;
  index: ImageIndex;
  layers: LayerStore;
  deep: boolean;
}): Promise<StoreFinding[]> {
  const { root, index, layers, deep } = options;
  const findings: StoreFinding[] = [];
  const add = (subject: string, problem: string) => findings.push({ subject, problem });
  for (const name of await readdir(root))
    if (!knownNames.includes(name) && !name.startsWith(temporaryPrefix))
      add(join(root, name), 'does not belong to the store');
  for (const name of await layers.strays()) add(join(root, 'layers', name), 'is no layer: it goes at the next start');
  for (const name of await index.strays())
    add(join(root, 'configurations', name), 'belongs to no image: it goes at the next start');
  const wanted = new Set<string>();
  for (const { id, repoTags, layers: needed } of index.list()) {
    for (const diffId of needed) {
      wanted.add(diffId);
      if (!layers.has(diffId)) add(repoTags[0] ?? id, `has no layer ${diffId}`);
    }
    const problem = await damage(id, index.configuration(id), 'configuration');
    if (problem) add(repoTags[0] ?? id, problem);
  }
  for (const diffId of layers.list()) {
    if (!wanted.has(diffId))
      add(diffId, 'is a layer of no image, kept for a container or image volume that stands on it');
    if (!deep) continue;
    const problem = await damage(diffId, layers.archive(diffId), 'layer');
    if (problem) add(diffId, problem);
  }
  return findings;
}

/** Why something has not the digest that it should have. */
async function damage(
  digest: string,
  content: Promise<Buffer> | AsyncIterable<Buffer>,
  what: string,
): Promise<string | undefined> {
  try {
    const hash = hashFor(digest);
    if (content instanceof Promise) hash.update(await content);
    else for await (const piece of content) hash.update(piece);
    checkDigest(hash, digest, what);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

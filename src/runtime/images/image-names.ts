import type { ImageIndex, ImageRecord } from './image-index.ts';
import { formatImageReference, type ImageReference, repositoryName } from './image-reference.ts';

/** What an image is recorded with. */
export interface NewImage extends Pick<ImageRecord, 'id' | 'layers' | 'size' | 'configuration'> {
  /** The boot in which its layers were written, when it is not known that they are on the disk. */
  unsynced?: string;
  reference?: ImageReference;
  /** Of the manifest or index that the reference stands for. */
  digest?: string;
}

/** Adds an image or its further name; a name belongs to the image that had it last. */
export async function recordImage(index: ImageIndex, image: NewImage): Promise<ImageRecord> {
  const { id, layers, size, configuration, reference, digest, unsynced } = image;
  // With both given the digest was asked for; that the tag stands for it was never checked.
  const tag = reference?.tag && !reference.digest ? `${repositoryName(reference)}:${reference.tag}` : undefined;
  const digestName = reference && digest ? `${repositoryName(reference)}@${digest}` : undefined;
  await index.change((images) => {
    for (const other of images.values()) {
      if (other.id !== id && tag && other.repoTags.includes(tag))
        images.set(other.id, { ...other, repoTags: other.repoTags.filter((one) => one !== tag) });
    }
    const before = images.get(id);
    images.set(id, {
      id,
      layers,
      size,
      configuration,
      repoTags: [...new Set([...(before?.repoTags ?? []), ...(tag ? [tag] : [])])],
      repoDigests: [...new Set([...(before?.repoDigests ?? []), ...(digestName ? [digestName] : [])])],
      pinned: before?.pinned ?? false,
      ...(unsynced && (!before || before.unsynced) ? { unsynced } : {}),
    });
  });
  return index.get(id)!;
}

/** Finds an image by its id, the beginning of that, or a name; short names mean what `candidates` says. */
export function findImage(
  index: ImageIndex,
  text: string,
  candidates: (text: string) => ImageReference[],
): ImageRecord | undefined {
  const known = index.get(text) ?? index.get(`sha256:${text}`);
  if (known) return known;
  const hex = /^(?:sha256:)?([0-9a-f]{6,63})$/.exec(text)?.[1];
  if (hex) {
    const found = index.list().filter(({ id }) => id.startsWith(`sha256:${hex}`));
    if (found.length === 1) return found[0];
  }
  let references: ImageReference[];
  try {
    references = candidates(text);
  } catch {
    return undefined;
  }
  for (const reference of references) {
    const name = formatImageReference(reference);
    const found = index.list().find((image) => (reference.digest ? image.repoDigests : image.repoTags).includes(name));
    if (found) return found;
  }
  return undefined;
}

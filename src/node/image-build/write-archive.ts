import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TarEntry, writeTar } from './tar.ts';
import type { WrittenImage } from './write-layout.ts';

/** Packs a layout into one file that containerd, skopeo, `docker load` and `deckhand image import` read. */
export async function writeArchive(
  directory: string,
  image: WrittenImage,
  name: string,
  output: string,
): Promise<void> {
  const blobPath = (digest: string) => `blobs/${digest.replace(':', '/')}`;
  // What `docker load` of older engines reads in place of the layout's index.
  const saved = [
    {
      Config: blobPath(image.config.digest),
      RepoTags: [name],
      Layers: image.layers.map(({ digest }) => blobPath(digest)),
    },
  ];
  const digests = [...new Set([image.manifest, image.config, ...image.layers].map(({ digest }) => digest))].sort();
  const entries: TarEntry[] = [
    ...(await Promise.all(
      ['oci-layout', 'index.json', ...digests.map(blobPath)].map(async (path): Promise<TarEntry> => {
        const source = join(directory, path);
        return { path, mode: 0o644, kind: 'file', source, size: (await stat(source)).size };
      }),
    )),
    { path: 'manifest.json', mode: 0o644, kind: 'bytes', content: Buffer.from(JSON.stringify(saved)) },
  ];
  const file = await open(output, 'w', 0o644);
  try {
    for await (const piece of writeTar(entries)) await file.writeFile(piece);
    await file.sync();
  } finally {
    await file.close();
  }
}

import { createHash } from 'node:crypto';
import { buildWaitingProgram } from '../../../host/namespaces/index.ts';
import { RuntimeError } from '../../errors.ts';
import { fileHeader } from '../../images/tar-writer.ts';
import { type Engine, isMissing, jsonLines, type PullProgress } from '../engine/index.ts';

/** The image that is loaded when none is configured: one static program that waits and reaps. */
export const ownSandboxImage = 'deckhand.local/sandbox:1';

/** Makes sure that the engine has the image of sandboxes; another one than our own has to be pulled. */
export async function ensureSandboxImage(engine: Engine, image: string): Promise<void> {
  try {
    await engine.get(`/images/${image}/json`);
  } catch (error) {
    if (!isMissing(error)) throw error;
    if (image === ownSandboxImage) await engine.post('/images/load', { query: { quiet: 1 }, body: makeImage() });
    else await pull(engine, image);
  }
}

async function pull(engine: Engine, image: string): Promise<void> {
  const message = await engine.stream('POST', '/images/create', { query: { fromImage: image } });
  for await (const { error } of jsonLines<PullProgress>(message))
    if (error) throw new RuntimeError('UNKNOWN', `cannot pull the image of sandboxes ${image}: ${error}`);
}

/** The image as `docker save` writes one: a manifest, a configuration, and one layer. */
function makeImage(): Buffer {
  const program = buildWaitingProgram();
  const layer = packTar([{ name: 'holder', content: program, mode: 0o755 }]);
  const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const configuration = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config: { Entrypoint: ['/holder'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'deckhand' }],
    }),
  );
  const name = `${sha256(configuration)}.json`;
  const manifest = [{ Config: name, RepoTags: [ownSandboxImage], Layers: ['layer.tar'] }];
  return packTar([
    { name, content: configuration },
    { name: 'layer.tar', content: layer },
    { name: 'manifest.json', content: Buffer.from(JSON.stringify(manifest)) },
  ]);
}

/** A tar archive of a few files. */
function packTar(files: readonly { name: string; content: Buffer; mode?: number }[]): Buffer {
  const block = 512;
  const parts = files.flatMap(({ name, content, mode }) => [
    fileHeader(name, content.length, mode),
    content,
    Buffer.alloc((block - (content.length % block)) % block),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(2 * block)]);
}

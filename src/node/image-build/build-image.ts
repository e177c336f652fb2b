import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { importArchive, type RuntimeChoice, workDirectory } from '../images.ts';
import { ImageBuildError, writeError } from './image-build-error.ts';
import { collectProxyContents, type ImageContents } from './proxy-contents.ts';
import { writeArchive } from './write-archive.ts';
import { orderEntries, type WrittenImage, writeLayout } from './write-layout.ts';

/** An image that was built. */
export interface BuiltImage extends WrittenImage {
  /** Its whole name, with a tag. */
  name: string;
  notes: string[];
}

/** What `deckhand image build` makes images of. */
export const buildable = ['proxy'] as const;

/** Where this package is installed. */
const packageDirectory = resolve(import.meta.dirname, '../../..');

/** The version of this package. */
async function packageVersion(): Promise<string> {
  return (JSON.parse(await readFile(join(packageDirectory, 'package.json'), 'utf8')) as { version: string }).version;
}

/** The name of an image when none is given. */
export async function defaultImageName(): Promise<string> {
  return `deckhand.local/kube-proxy:v${await packageVersion()}`;
}

/** Checks what is to be built. @throws ImageBuildError UNKNOWN_COMPONENT */
export function checkBuildable(component: string): void {
  if ((buildable as readonly string[]).includes(component)) return;
  const known = ['apiserver', 'runtime', 'kubelet', 'scheduler', 'controllers', 'dns', 'cri-docker'].includes(
    component,
  );
  throw new ImageBuildError(
    'UNKNOWN_COMPONENT',
    JSON.stringify(component),
    `${known ? 'this component runs on the host: no image is made of it' : 'there is no such component'}; images are made of: ${buildable.join(', ')}`,
  );
}

/** A name with its registry and tag, as runtimes complete it. @throws ImageBuildError BAD_NAME */
export function completeName(name: string): string {
  const match =
    /^((?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([\w][\w.-]{0,127}))?$/i.exec(
      name,
    );
  const [, repository = '', tag = 'latest'] = match ?? [];
  const [first = '', ...rest] = repository.split('/');
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const path = hasRegistry ? rest.join('/') : repository;
  if (path === '' || path !== path.toLowerCase())
    throw new ImageBuildError(
      'BAD_NAME',
      JSON.stringify(name),
      'is not the name of an image: use [REGISTRY/]NAME[:TAG], in lower case, as registry.example/kube-proxy:v1',
    );
  const complete = hasRegistry ? repository : `docker.io/${repository.includes('/') ? '' : 'library/'}${repository}`;
  return `${complete}:${tag}`;
}

/** What goes into the image of a component, and a word for it that changes when any of that does. */
export async function planImage(component: string): Promise<{ contents: ImageContents; fingerprint: string }> {
  checkBuildable(component);
  const contents = await collectProxyContents(packageDirectory);
  return { contents, fingerprint: fingerprintOf(contents) };
}

/** Programs by size and time, which is what changes with them; the rest by content. */
function fingerprintOf(contents: ImageContents): string {
  const hash = createHash('sha256').update(JSON.stringify([contents.entrypoint, contents.environment]));
  for (const { files } of contents.layers)
    for (const entry of orderEntries(files)) {
      const extra = entry.kind === 'file' ? statSync(entry.source).mtimeMs : '';
      const content = entry.kind === 'bytes' ? entry.content.toString('base64') : '';
      hash.update(JSON.stringify([{ ...entry, content, patches: undefined }, extra]));
    }
  return hash.digest('hex');
}

async function labelsOf(): Promise<Record<string, string>> {
  return {
    'org.opencontainers.image.title': 'kube-proxy',
    'org.opencontainers.image.description': "Deckhand's Service proxy, in the place of kube-proxy",
    'org.opencontainers.image.version': await packageVersion(),
    'org.opencontainers.image.source': 'npm:deckhand',
    'org.opencontainers.image.licenses': 'Apache-2.0',
    'dev.deckhand.node': process.version,
  };
}

/** Where images are put together; behind it stands the process that does. */
const temporary = '.deckhand-image-';

/** Takes away what builds have left that were killed. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    const pid = name.startsWith(temporary) ? name.slice(temporary.length).split('-')[0] : undefined;
    if (pid && !existsSync(`/proc/${pid}`)) await rm(join(parent, name), { recursive: true, force: true });
  }
}

/** Builds into a directory of its own inside `parent`; `use` gets it, and it goes afterwards. */
async function withLayout<T>(
  contents: ImageContents,
  name: string,
  options: { parent: string; pack: boolean },
  use: (directory: string, image: WrittenImage) => Promise<T>,
): Promise<T> {
  await removeLeftovers(options.parent);
  const directory = await mkdtemp(join(options.parent, `${temporary}${process.pid}-`)).catch((cause: unknown) => {
    throw writeError(options.parent, cause);
  });
  try {
    const image = await writeLayout(directory, contents, { name, labels: await labelsOf() }, options.pack);
    return await use(directory, image);
  } catch (cause) {
    throw writeError(options.parent, cause);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Builds an image into an archive, or, where `output` is an empty directory, into an OCI image layout. It appears when it
 * is whole. @throws ImageBuildError
 */
export async function buildArchive(component: string, name: string, output: string): Promise<BuiltImage> {
  checkBuildable(component);
  const isDirectory = (await stat(output).catch(() => undefined))?.isDirectory() ?? false;
  if (isDirectory && (await readdir(output)).length > 0)
    throw new ImageBuildError(
      'NOT_WRITABLE',
      output,
      'is a directory with something in it: name a file, or an empty directory for a layout',
    );
  const { contents } = await planImage(component);
  return withLayout(contents, name, { parent: dirname(output), pack: true }, async (directory, image) => {
    if (isDirectory) await replaceDirectory(directory, output);
    else {
      const partial = join(directory, basename(output));
      await writeArchive(directory, image, name, partial);
      await rename(partial, output);
    }
    return { ...image, name, notes: contents.notes };
  });
}

async function replaceDirectory(from: string, to: string): Promise<void> {
  for (const name of ['blobs', 'oci-layout', 'index.json']) await rename(join(from, name), join(to, name));
}

/** Builds an image right into the runtime of a node: layers are not packed for that, and the image's id is the same. @throws ImageBuildError */
export async function buildIntoRuntime(runtime: RuntimeChoice, component: string, name: string): Promise<BuiltImage> {
  const { contents } = await planImage(component);
  return loadContents(runtime, contents, name);
}

/** Makes the image of some contents in the runtime of a node, under a name that may tell its id. */
export async function loadContents(
  runtime: RuntimeChoice,
  contents: ImageContents,
  name: string,
  nameOf: (image: WrittenImage) => string = () => name,
): Promise<BuiltImage> {
  const parent = await workDirectory(runtime);
  return withLayout(contents, name, { parent, pack: false }, async (directory, image) => {
    await importArchive(runtime, directory, nameOf(image));
    return { ...image, name: nameOf(image), notes: contents.notes };
  });
}

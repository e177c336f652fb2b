import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import { runProgram } from '../../host/exec/index.ts';
import { listImages } from '../images.ts';
import { instancePaths } from '../instance.ts';

/**
 * What is known of the image that the last start made; the runtime is asked whether it still has it. That there is this
 * file tells that the proxy of this instance has run as a DaemonSet.
 */
interface ImageNote {
  fingerprint: string;
  image: string;
  id: string;
}

/**
 * Has a process of its own see to it that the instance's runtime has an image of the proxy as it is installed here: memory
 * that making an image takes is given back with it. Gives the image's name.
 */
export async function makeProxyImage(dataDirectory: string, clock: Clock, signal?: AbortSignal): Promise<string> {
  const command = join(import.meta.dirname, '../../cli/main.ts');
  const options = ['image', 'build', 'proxy', '--if-changed', '--json', '--data-dir', dataDirectory];
  const { status, stdout, stderr } = await runProgram(
    [process.execPath, '--disable-warning=ExperimentalWarning', command, ...options],
    { clock, timeoutMs: 120_000, ...(signal ? { signal } : {}) },
  );
  if (status !== 0)
    throw new Error(
      `no image of the proxy can be made: ${
        stderr
          .toString()
          .trim()
          .replace(/^deckhand: /, '') || `status ${status}`
      }`,
    );
  return (JSON.parse(stdout.toString()) as { name: string }).name;
}

/**
 * Sees to it that the runtime has an image of the proxy as it is installed here. One that is there already is not made
 * again. Its tag tells its content, so that pods are exchanged when the content has changed, and only then.
 */
export async function ensureProxyImage(dataDirectory: string): Promise<{ name: string; id: string; isNew: boolean }> {
  const { planImage, loadContents, defaultImageName } = await import('../image-build/build-image.ts');
  const { contents, fingerprint } = await planImage('proxy');
  const runtime = { dataDirectory };
  const note = await readNote(dataDirectory);
  if (note?.fingerprint === fingerprint) {
    const there = (await listImages(runtime)).some(({ id, names }) => id === note.id && names.includes(note.image));
    if (there) return { name: note.image, id: note.id, isNew: false };
  }
  const base = await defaultImageName();
  const built = await loadContents(runtime, contents, base, ({ id }) => `${base}-${id.slice(7, 19)}`);
  await writeNote(dataDirectory, { fingerprint, image: built.name, id: built.id });
  return { name: built.name, id: built.id, isNew: true };
}

async function readNote(dataDirectory: string): Promise<ImageNote | undefined> {
  try {
    return JSON.parse(await readFile(instancePaths(dataDirectory).proxyImage, 'utf8')) as ImageNote;
  } catch {
    return undefined;
  }
}

/** Notes the image, or, for one that the user has named, only that there is a DaemonSet. */
export async function writeNote(dataDirectory: string, note: Partial<ImageNote>): Promise<void> {
  const file = instancePaths(dataDirectory).proxyImage;
  await writeFile(`${file}.new`, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

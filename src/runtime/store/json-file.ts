import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { unlessMissing } from '../errors.ts';

let writes = 0;

/** Writes a file so that at any moment either the old or the new content is there whole. The directory must exist. */
export async function writeAtomically(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}.${writes++}.tmp`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}

/** Writes a file, making its directory. */
export async function writeInNewDirectory(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeAtomically(path, content);
}

/** Reads `<directory>/<id>/<name>` of every id; what is unreadable is told and left out, and where there is none the directory goes. */
export async function readRecords<T>(
  directory: string,
  name: string,
  parse: (text: string) => T,
  onBroken: (id: string, cause: unknown) => void,
): Promise<T[]> {
  const ids = (await unlessMissing(readdir(directory))) ?? [];
  const records = await Promise.all(
    ids.map(async (id) => {
      try {
        const text = await unlessMissing(readFile(join(directory, id, name), 'utf8'));
        if (text !== undefined) return [parse(text)];
        await removeTree(join(directory, id));
        return [];
      } catch (cause) {
        onBroken(id, cause);
        return [];
      }
    }),
  );
  return records.flat();
}

/** Removes a file or a tree; nothing there is no error. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** What the names of directories begin with into which archives are unpacked. */
export const temporaryPrefix = '.import-';

/** Removes what imports that did not come to their end have left in a directory. */
export async function removeLeftovers(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(temporaryPrefix)))
    await rm(join(directory, name), { recursive: true, force: true });
}

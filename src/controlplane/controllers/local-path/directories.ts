import { chmod, mkdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** Makes the directory of a volume: any user's pod may write to it. Present already is no error. */
export async function makeDirectory(parent: string, name: string): Promise<string> {
  const directory = join(parent, name);
  await mkdir(directory, { recursive: true, mode: 0o777 });
  await chmod(parent, 0o755);
  await chmod(directory, 0o777);
  return directory;
}

/** Removes the directory of a volume with its content. @throws Error when it is not one of the parent's */
export async function removeDirectory(parent: string, directory: string): Promise<void> {
  if (directory === '' || dirname(resolve(directory)) !== resolve(parent))
    throw new Error(`${directory} is not a directory of local-path (${parent}): it is not removed`);
  await rm(directory, { recursive: true, force: true });
}

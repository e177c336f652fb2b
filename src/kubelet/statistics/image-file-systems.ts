import type { FilesystemUsage } from '../../api/cri/index.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { type FileSystemUsage, readFileSystem } from './node-usage.ts';

/** A file system with what the runtime's images or containers take of it. */
export interface StoreUsage extends FileSystemUsage {
  storeBytes: number;
  storeInodes: number;
}

/** Where the runtime keeps images and writable layers. */
export interface ImageFileSystems {
  image: StoreUsage | undefined;
  container: StoreUsage | undefined;
}

/** Asks the runtime where its stores are, and looks at their file systems. */
export async function readImageFileSystems(client: RuntimeClient): Promise<ImageFileSystems> {
  const { imageFilesystems, containerFilesystems } = await client.images.imageFsInfo({}, { timeoutMs: 10_000 });
  return {
    image: toStore(imageFilesystems[0]),
    container: toStore(containerFilesystems[0]) ?? toStore(imageFilesystems[0]),
  };
}

function toStore(usage: FilesystemUsage | undefined): StoreUsage | undefined {
  const mountpoint = usage?.fsId?.mountpoint;
  if (!mountpoint) return undefined;
  try {
    return {
      ...readFileSystem(mountpoint),
      storeBytes: Number(usage.usedBytes?.value ?? 0n),
      storeInodes: Number(usage.inodesUsed?.value ?? 0n),
    };
  } catch {
    // A directory that only the runtime sees.
    return undefined;
  }
}

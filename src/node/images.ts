import { join, resolve } from 'node:path';
import { ImageService } from '../api/cri/index.ts';
import { createGrpcClient } from '../wire/grpc/index.ts';
import { runtimeEndpoint } from './arguments.ts';
import { type InstanceRecord, instancePaths, isRunning, readInstance } from './instance.ts';
import { type ImportedImage, importImages } from './runtime-admin.ts';
import type { UpOptions } from './up-options.ts';

/** An image of the node, for people. */
export interface ListedImage {
  id: string;
  names: string[];
  bytes: number;
}

async function runningInstance(dataDirectory: string): Promise<InstanceRecord> {
  const instance = await readInstance(dataDirectory);
  if (!instance || !isRunning(instance))
    throw new Error(
      `nothing runs with data directory ${dataDirectory}: start it with 'deckhand up', or name another --data-dir`,
    );
  return instance;
}

async function withImages<T>(
  dataDirectory: string,
  use: (client: ReturnType<typeof createGrpcClient<typeof ImageService.method>>) => Promise<T>,
): Promise<T> {
  const instance = await runningInstance(dataDirectory);
  const client = createGrpcClient(ImageService, runtimeEndpoint(instance.options as unknown as UpOptions));
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Pulls an image to the node; gives its id. */
export function pullImage(dataDirectory: string, reference: string): Promise<string> {
  return withImages(
    dataDirectory,
    async (client) => (await client.pullImage({ image: { image: reference } })).imageRef,
  );
}

/** The images of the node. */
export function listImages(dataDirectory: string): Promise<ListedImage[]> {
  return withImages(dataDirectory, async (client) => {
    const { images } = await client.listImages({});
    return images.map(({ id, repoTags, repoDigests, size }) => ({
      id,
      names: repoTags.length > 0 ? repoTags : repoDigests,
      bytes: Number(size),
    }));
  });
}

/** Removes an image from the node. @throws Error when there is none of that name */
export function removeImage(dataDirectory: string, reference: string): Promise<void> {
  return withImages(dataDirectory, async (client) => {
    const { image } = await client.imageStatus({ image: { image: reference } });
    if (!image) throw new Error(`there is no image ${reference} on the node`);
    await client.removeImage({ image: { image: reference } });
  });
}

/** Reads images from an OCI layout (directory or tar) or a docker-archive into the node. */
export async function importArchive(
  dataDirectory: string,
  archive: string,
  name: string | undefined,
): Promise<ImportedImage[]> {
  const instance = await runningInstance(dataDirectory);
  if ((instance.options as unknown as UpOptions).runtimeEndpoint)
    throw new Error("the node uses another runtime: import with that runtime's own tool");
  return importImages(adminSocket(instancePaths(dataDirectory).runtime), resolve(archive), name);
}

/** The administration socket beside a runtime's state. */
export function adminSocket(directory: string): string {
  return join(directory, 'admin.sock');
}

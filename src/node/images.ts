import { dirname, join, resolve } from 'node:path';
import { ImageService } from '../api/cri/index.ts';
import { createGrpcClient } from '../wire/grpc/index.ts';
import { runtimeEndpoint } from './arguments.ts';
import { type InstanceRecord, instancePaths, isRunning, readInstance } from './instance.ts';
import * as admin from './runtime-admin.ts';
import type { UpOptions } from './up-options.ts';

/** An image of the node, for people. */
export interface ListedImage {
  id: string;
  names: string[];
  digests: string[];
  bytes: number;
  pinned: boolean;
}

/** Which runtime is meant: that of an instance, or one that runs alone. */
export interface RuntimeChoice {
  dataDirectory: string;
  /** `--root` and `--listen` of a `deckhand runtime`. */
  alone?: { root: string; listen: string };
}

/** Credentials for one pull. */
export interface PullCredentials {
  username: string;
  password: string;
}

async function runningInstance(dataDirectory: string): Promise<InstanceRecord> {
  const instance = await readInstance(dataDirectory);
  if (!instance || !isRunning(instance))
    throw new Error(
      `nothing runs with data directory ${dataDirectory}: start it with 'deckhand up', or name another --data-dir`,
    );
  return instance;
}

async function endpointOf({ dataDirectory, alone }: RuntimeChoice): Promise<string> {
  if (alone) return alone.listen;
  const instance = await runningInstance(dataDirectory);
  return runtimeEndpoint(instance.options as unknown as UpOptions);
}

/** The administration socket of Deckhand's own runtime. @throws Error when the node has another runtime */
async function adminOf({ dataDirectory, alone }: RuntimeChoice): Promise<string> {
  if (alone) return admin.adminSocket(resolve(alone.root));
  const instance = await runningInstance(dataDirectory);
  if ((instance.options as unknown as UpOptions).runtimeEndpoint)
    throw new Error("the node uses another runtime: use that runtime's own tool");
  return admin.adminSocket(join(instancePaths(dataDirectory).runtime, 'root'));
}

/** A directory on the disk of Deckhand's own runtime, for what it is about to import. @throws Error when the node has another runtime */
export async function workDirectory(runtime: RuntimeChoice): Promise<string> {
  return dirname(await adminOf(runtime));
}

async function withImages<T>(
  runtime: RuntimeChoice,
  use: (client: ReturnType<typeof createGrpcClient<typeof ImageService.method>>) => Promise<T>,
): Promise<T> {
  const client = createGrpcClient(ImageService, await endpointOf(runtime));
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Pulls an image to the node; gives its id. */
export function pullImage(runtime: RuntimeChoice, reference: string, auth?: PullCredentials): Promise<string> {
  const request = { image: { image: reference }, ...(auth ? { auth } : {}) };
  return withImages(runtime, async (client) => (await client.pullImage(request)).imageRef);
}

/** The images of the node. */
export function listImages(runtime: RuntimeChoice): Promise<ListedImage[]> {
  return withImages(runtime, async (client) => {
    const { images } = await client.listImages({});
    return images.map(({ id, repoTags, repoDigests, size, pinned }) => ({
      id,
      names: repoTags,
      digests: repoDigests,
      bytes: Number(size),
      pinned,
    }));
  });
}

/** Removes an image with all its names from the node. @throws Error when there is none of that name */
export function removeImage(runtime: RuntimeChoice, reference: string): Promise<void> {
  return withImages(runtime, async (client) => {
    const { image } = await client.imageStatus({ image: { image: reference } });
    if (!image) throw new Error(`there is no image ${reference} on the node`);
    await client.removeImage({ image: { image: reference } });
  });
}

/** Reads images from an OCI layout (directory or tar) or a docker-archive into the node. */
export async function importArchive(
  runtime: RuntimeChoice,
  archive: string,
  name: string | undefined,
): Promise<admin.ImportedImage[]> {
  return admin.importImages(await adminOf(runtime), resolve(archive), name);
}

/** Writes images to a file. */
export async function exportArchive(
  runtime: RuntimeChoice,
  references: readonly string[],
  options: { path: string; format: 'oci' | 'docker' },
): Promise<void> {
  await admin.exportImages(await adminOf(runtime), references, { ...options, path: resolve(options.path) });
}

/** All that is known of an image. */
export async function inspectImage(runtime: RuntimeChoice, reference: string): Promise<admin.InspectedImage> {
  return admin.inspectImage(await adminOf(runtime), reference);
}

/** Removes images that nothing uses: those without a tag, or all but pinned ones. */
export async function pruneImages(
  runtime: RuntimeChoice,
  all: boolean,
): Promise<{ images: string[]; layers: number; bytes: number }> {
  return admin.pruneImages(await adminOf(runtime), all);
}

/** Looks for what does not belong among the images, or is damaged. */
export async function checkImages(
  runtime: RuntimeChoice,
  deep: boolean,
): Promise<{ subject: string; problem: string }[]> {
  return admin.checkImages(await adminOf(runtime), deep);
}

/** Which servers are asked for an image, by which rules, and what they answer. */
export async function explainRegistries(
  runtime: RuntimeChoice,
  reference: string,
): Promise<Awaited<ReturnType<typeof admin.explainRegistries>>> {
  return admin.explainRegistries(await adminOf(runtime), reference);
}

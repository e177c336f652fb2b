import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  ImageFsInfoResponseSchema,
  ImageSpec,
  ImageStatusRequest,
  ImageStatusResponseSchema,
  ListImagesRequest,
  PullImageRequest,
  PullImageResponseSchema,
} from '../../api/cri/index.ts';
import { stage } from '../calls/index.ts';
import { toImage } from '../cri/convert.ts';
import { credentialsFor } from '../cri/pull-image.ts';
import { invalid } from '../errors.ts';
import { toNanoseconds } from '../identifiers.ts';
import { parseImageReference } from '../images/index.ts';
import type { DockerContext } from './docker-context.ts';

const nameOf = (image: ImageSpec | undefined): string => {
  if (!image?.image) throw invalid('no image is named');
  return image.image;
};

/** ListImages: all images, or the one that a filter names. */
export async function images(context: DockerContext, { filter }: Pick<ListImagesRequest, 'filter'>) {
  const name = filter?.image?.image;
  if (!name) return (await context.images.list()).map(toImage);
  const found = await context.images.status(name);
  return found ? [toImage(found)] : [];
}

/** ImageStatus: an image by any of its names; none is no error, the answer is then empty. */
export async function imageStatus(
  context: DockerContext,
  request: ImageStatusRequest,
): Promise<MessageInitShape<typeof ImageStatusResponseSchema>> {
  const record = await context.images.status(nameOf(request.image));
  if (!record) return {};
  const info: Record<string, string> = request.verbose
    ? { info: JSON.stringify({ imageSpec: record.configuration }) }
    : {};
  return { image: toImage(record), info };
}

/** PullImage: has the engine fetch an image; gives its id. */
export async function pullImage(
  context: DockerContext,
  request: PullImageRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof PullImageResponseSchema>> {
  const name = nameOf(request.image);
  const auth = credentialsFor(parseImageReference(name).registry, request.auth);
  const { id } = await stage('pull', () => context.images.pull(name, { ...(auth ? { auth } : {}), signal }));
  return { imageRef: id };
}

/** ImageFsInfo: what images take on the engine's disk. */
export async function imageFsInfo(context: DockerContext): Promise<MessageInitShape<typeof ImageFsInfoResponseSchema>> {
  const { usedBytes, inodesUsed, mountpoint } = await context.images.fsInfo();
  const usage = {
    timestamp: toNanoseconds(context.clock.now()),
    fsId: { mountpoint },
    usedBytes: { value: BigInt(usedBytes) },
    inodesUsed: { value: BigInt(inodesUsed) },
  };
  return { imageFilesystems: [usage], containerFilesystems: [usage] };
}

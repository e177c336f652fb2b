import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ImageFilter, ListImagesRequest, ListImagesResponseSchema } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { type ImageRecord, parseImageReference, repositoryName } from '../images/index.ts';
import { toImage } from './convert.ts';

/** ListImages: all images, or those that a filter names. */
export function listImages(
  context: RuntimeContext,
  request: ListImagesRequest,
): MessageInitShape<typeof ListImagesResponseSchema> {
  return { images: filterImages(context, request.filter).map(toImage) };
}

/** The images that pass a filter: one by its id, tag or digest, or all of a repository. */
export function filterImages(context: RuntimeContext, filter: ImageFilter | undefined): ImageRecord[] {
  const reference = filter?.image?.image;
  if (!reference) return context.images.list();
  const repository = wholeRepository(reference);
  const ofRepository = context.images
    .list()
    .filter(({ repoTags, repoDigests }) =>
      [...repoTags, ...repoDigests].some((name) => /^(.+?)(?::[^:/@]+)?(?:@.+)?$/.exec(name)?.[1] === repository),
    );
  if (ofRepository.length > 0) return ofRepository;
  const found = context.images.status(reference);
  return found ? [found] : [];
}

/** The repository that a name without tag and digest means; undefined for any other reference. */
function wholeRepository(reference: string): string | undefined {
  if (/:[^/]*$|@/.test(reference)) return undefined;
  try {
    return repositoryName(parseImageReference(reference));
  } catch {
    return undefined;
  }
}

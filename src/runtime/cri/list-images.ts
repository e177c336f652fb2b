import type { ImageFilter, ListImagesRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import type { ImageRecord } from '../images/index.ts';
import { toImage } from './convert.ts';

/** ListImages: all images, or the one that a filter names. */
export function listImages(context: RuntimeContext, request: ListImagesRequest) {
  return { images: filterImages(context, request.filter).map(toImage) };
}

/** The images that pass a filter. */
export function filterImages(context: RuntimeContext, filter: ImageFilter | undefined): ImageRecord[] {
  const reference = filter?.image?.image;
  if (!reference) return context.images.list();
  const found = context.images.status(reference);
  return found ? [found] : [];
}

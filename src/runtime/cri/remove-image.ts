import type { RemoveImageRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';

/** RemoveImage: takes an image away with all its names. One that is not there is removed. */
export async function removeImage(context: RuntimeContext, request: RemoveImageRequest) {
  const reference = request.image?.image;
  if (!reference) throw invalid('no image is named');
  await context.images.remove(reference);
  return {};
}

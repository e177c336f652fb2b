import type { PullImageRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';

/** PullImage: fetches an image; gives its id. */
export async function pullImage(context: RuntimeContext, request: PullImageRequest, signal: AbortSignal) {
  const reference = request.image?.image;
  if (!reference) throw invalid('no image is named');
  const { auth } = request;
  const { id } = await context.images.pull(reference, { ...(auth ? { auth } : {}), signal });
  return { imageRef: id };
}

import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ImageStatusRequest, ImageStatusResponseSchema } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';
import { toImage } from './convert.ts';

/** ImageStatus: an image by any of its names; none is no error, the answer is then empty. */
export function imageStatus(
  context: RuntimeContext,
  request: ImageStatusRequest,
): MessageInitShape<typeof ImageStatusResponseSchema> {
  const reference = request.image?.image;
  if (!reference) throw invalid('no image is named');
  const record = context.images.status(reference);
  if (!record) return {};
  const info: Record<string, string> = request.verbose
    ? { info: JSON.stringify({ imageSpec: record.configuration, layers: record.layers }) }
    : {};
  return { image: toImage(record), info };
}

import type { ContainerConfig } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, notFound } from '../errors.ts';
import type { ImageRecord } from '../images/index.ts';
import type { ImageConfig } from './image-config.ts';

/** The image of a container and what it says of its process. @throws RuntimeError NOT_FOUND when it is not here */
export function imageOf(
  context: RuntimeContext,
  config: ContainerConfig,
): { record: ImageRecord; config: ImageConfig } {
  const reference = config.image?.image;
  if (!reference) throw invalid('a container needs an image');
  const record = context.images.status(reference);
  if (!record) throw notFound('image', reference);
  const found = record.configuration.config;
  return {
    record,
    config: {
      entrypoint: found?.Entrypoint ?? [],
      cmd: found?.Cmd ?? [],
      env: found?.Env ?? [],
      user: found?.User ?? '',
      workingDir: found?.WorkingDir ?? '',
      stopSignal: found?.StopSignal ?? '',
    },
  };
}

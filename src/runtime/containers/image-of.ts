import { normalize } from 'node:path';
import type { ContainerConfig } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, notFound } from '../errors.ts';
import { type ImageRecord, parseImageReference, repositoryName } from '../images/index.ts';
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
      volumes: Object.keys(found?.Volumes ?? {}).map((path) => normalize(`/${path}`).replace(/(?<=.)\/$/, '')),
    },
  };
}

/**
 * What names an image for good, for people and for other nodes: its digest in the repository that was asked for, else in any;
 * its id when it came from no registry.
 */
export function lastingReference(image: ImageRecord, asked: string): string {
  const repository = repositoryOf(asked);
  return image.repoDigests.find((one) => one.startsWith(`${repository}@`)) ?? image.repoDigests[0] ?? image.id;
}

function repositoryOf(asked: string): string | undefined {
  try {
    return repositoryName(parseImageReference(asked));
  } catch {
    // An id, or a name that only the user understands.
    return undefined;
  }
}

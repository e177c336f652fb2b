import type { PodRecord } from '../pods/pod-record.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import { parseImageName } from './image-name.ts';

/**
 * Every name and id by which something needs an image: containers, dead ones too, with the images they mount, and what
 * pods that have not ended will start next (an image that was just pulled is in no container yet).
 */
export function* imagesInUse(cache: RuntimeCache, records: readonly PodRecord[]): Iterable<string> {
  for (const uid of cache.podUids()) {
    for (const { image, imageRef, mounts } of cache.pod(uid).containers) {
      yield* namesOf(image);
      yield* namesOf(imageRef);
      for (const mount of mounts) if (mount.image) yield* namesOf(mount.image);
    }
  }
  for (const { pod, phase } of records) {
    if (phase === 'terminated') continue;
    const { containers = [], initContainers = [], ephemeralContainers = [], volumes = [] } = pod.spec ?? {};
    for (const { image } of [...containers, ...initContainers, ...ephemeralContainers]) yield* namesOf(image);
    for (const { image } of volumes) yield* namesOf(image?.reference);
  }
}

/** The name as it stands, and as runtimes list it. */
function* namesOf(name: string | undefined): Iterable<string> {
  if (!name) return;
  yield name;
  try {
    const { full, registry, repository, digest } = parseImageName(name);
    yield full;
    if (digest) yield `${registry}/${repository}@${digest}`;
  } catch {
    // An id, or nothing that anybody could have pulled.
  }
}

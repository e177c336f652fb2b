import { PodError } from '../errors.ts';

/** An image's name, taken apart. */
export interface ImageName {
  /** The whole with every default filled in: `docker.io/library/busybox:latest`. */
  full: string;
  /** Registry host with port, and the repository's path. */
  registry: string;
  repository: string;
  tag?: string;
  digest?: string;
}

const pattern =
  /^((?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::\d+)?\/)?((?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)(?::([\w][\w.-]{0,127}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$/;

/** Parses an image's name and fills in what users leave out. @throws PodError InvalidImageName */
export function parseImageName(text: string): ImageName {
  const match = pattern.exec(text);
  if (!match) {
    const path = text.replace(/[:@][^/]*$/, '').replace(/^[^/]*[.:][^/]*\//, '');
    const why = /[A-Z]/.test(path)
      ? `: repository name (${path.includes('/') ? path : `library/${path}`}) must be lowercase`
      : '';
    throw new PodError(
      'InvalidImageName',
      `Failed to apply default image tag "${text}": couldn't parse image name "${text}": invalid reference format${why}`,
    );
  }
  let registry = match[1]?.slice(0, -1) ?? '';
  let repository = match[2]!;
  // `name/image` without a dot, a port or localhost is a path at the default registry.
  if (registry !== '' && !/[.:]/.test(registry) && registry !== 'localhost') {
    repository = `${registry}/${repository}`;
    registry = '';
  }
  if (registry === '') {
    registry = 'docker.io';
    if (!repository.includes('/')) repository = `library/${repository}`;
  }
  const [, , , tag, digest] = match;
  const version = digest ? `${tag ? `:${tag}` : ''}@${digest}` : `:${tag ?? 'latest'}`;
  return {
    full: `${registry}/${repository}${version}`,
    registry,
    repository,
    tag: tag ?? (digest ? undefined : 'latest'),
    digest,
  };
}

/** The name as the runtime is asked for it: as the user wrote it, with `:latest` when it has neither tag nor digest. */
export function withDefaultTag(text: string): string {
  const { tag, digest } = parseImageName(text);
  return digest || text.endsWith(`:${tag}`) ? text : `${text}:latest`;
}

/** The name as the user wrote it, without tag and digest: what a login is for. */
export function withoutVersion(text: string): string {
  const { tag, digest } = parseImageName(text);
  let name = text;
  if (digest) name = name.slice(0, -digest.length - 1);
  return tag && name.endsWith(`:${tag}`) ? name.slice(0, -tag.length - 1) : name;
}

/** When to pull if the container does not say: always for `latest`, otherwise only when the image is absent. */
export function defaultPullPolicy(image: string): 'Always' | 'IfNotPresent' {
  const { tag, digest } = parseImageName(image);
  return !digest && tag === 'latest' ? 'Always' : 'IfNotPresent';
}

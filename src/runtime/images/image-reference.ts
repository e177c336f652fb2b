import { ImageError } from './image-error.ts';

/** The name of an image, taken apart and completed as Docker's clients do: `busybox` is `docker.io/library/busybox:latest`. */
export interface ImageReference {
  /** `docker.io`, `127.0.0.1:5000` */
  registry: string;
  /** `library/busybox` */
  repository: string;
  tag?: string;
  /** `sha256:…` */
  digest?: string;
}

const component = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const registryPattern = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}$/;

/** Takes a reference apart. @throws ImageError INVALID_ARGUMENT when it is none */
export function parseImageReference(text: string): ImageReference {
  const bad = (why: string) =>
    new ImageError('INVALID_ARGUMENT', `failed to parse image reference ${JSON.stringify(text)}: ${why}`);
  if (text === '' || text.length > 4096) throw bad('invalid reference format');
  const [named = '', digest, surplus] = text.split('@');
  if (surplus !== undefined || (digest !== undefined && !digestPattern.test(digest)))
    throw bad('invalid reference format');
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  const hasRegistry = first !== '' && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const registry = hasRegistry ? first : 'docker.io';
  let rest = hasRegistry ? named.slice(slash + 1) : named;
  const colon = rest.lastIndexOf(':');
  const tag = colon >= 0 ? rest.slice(colon + 1) : undefined;
  if (colon >= 0) rest = rest.slice(0, colon);
  if (/[A-Z]/.test(rest)) throw bad('repository name must be lowercase');
  if (!registryPattern.test(registry) || !repositoryPattern.test(rest) || rest.length > 255)
    throw bad('invalid reference format');
  if (tag !== undefined && !tagPattern.test(tag)) throw bad('invalid reference format');
  const canonical = registry === 'index.docker.io' ? 'docker.io' : registry;
  const repository = canonical === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest;
  return {
    registry: canonical,
    repository,
    ...(tag === undefined && digest === undefined ? { tag: 'latest' } : tag === undefined ? {} : { tag }),
    ...(digest ? { digest } : {}),
  };
}

/** `registry/repository` */
export function repositoryName({ registry, repository }: ImageReference): string {
  return `${registry}/${repository}`;
}

/** The reference in full, with tag or digest (a digest wins). */
export function formatImageReference(reference: ImageReference): string {
  const { tag, digest } = reference;
  return `${repositoryName(reference)}${digest ? `@${digest}` : `:${tag ?? 'latest'}`}`;
}

import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AuthConfig, PullImageRequest, PullImageResponseSchema } from '../../api/cri/index.ts';
import { stage } from '../calls/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, RuntimeError } from '../errors.ts';
import { ImageError, parseImageReference, type RegistryAuth } from '../images/index.ts';

/** PullImage: fetches an image; gives its id. */
export async function pullImage(
  context: RuntimeContext,
  request: PullImageRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof PullImageResponseSchema>> {
  const reference = request.image?.image;
  if (!reference) throw invalid('no image is named');
  try {
    const auth = credentialsFor(parseImageReference(reference).registry, request.auth);
    const pull = () => context.images.pull(reference, { ...(auth ? { auth } : {}), signal });
    const { id } = await stage('pull', pull);
    return { imageRef: id };
  } catch (error) {
    throw asRuntimeError(error);
  }
}

/**
 * A failed pull as kubelets understand it: they look for `RegistryUnavailable` at the beginning of the message, and take
 * the code UNAVAILABLE for a runtime that is not there.
 */
function asRuntimeError(cause: unknown): unknown {
  if (!(cause instanceof ImageError)) return cause;
  if (cause.code !== 'UNAVAILABLE') return new RuntimeError(cause.code, cause.message, { cause });
  return new RuntimeError('UNKNOWN', `RegistryUnavailable: ${cause.message}`, { cause });
}

/** What was given for this registry; credentials that name another server are not sent to this one. */
export function credentialsFor(registry: string, given: AuthConfig | undefined): RegistryAuth | undefined {
  if (!given) return undefined;
  const { serverAddress, username, password, auth, identityToken, registryToken } = given;
  if (serverAddress !== '' && serverOf(serverAddress) !== registry) return undefined;
  return { username, password, auth, identityToken, registryToken };
}

/** The registry that an address means; Docker's own has several. */
function serverOf(address: string): string {
  const host = address.replace(/^[a-z]+:\/\//, '').replace(/\/.*$/, '');
  return /^(index\.|registry-1\.)?docker\.io$/.test(host) ? 'docker.io' : host;
}

import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AuthConfig, PullImageRequest, PullImageResponseSchema } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';
import { parseImageReference, type RegistryAuth } from '../images/index.ts';

/** PullImage: fetches an image; gives its id. */
export async function pullImage(
  context: RuntimeContext,
  request: PullImageRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof PullImageResponseSchema>> {
  const reference = request.image?.image;
  if (!reference) throw invalid('no image is named');
  const auth = credentialsFor(parseImageReference(reference).registry, request.auth);
  const { id } = await context.images.pull(reference, { ...(auth ? { auth } : {}), signal });
  return { imageRef: id };
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

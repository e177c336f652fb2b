import type { Clock } from '../../async/index.ts';
import { faultPoint } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { type FetchedImage, packedSize, readImage } from './fetch-image.ts';
import { ImageError } from './image-error.ts';
import type { Platform } from './image-platform.ts';
import { formatImageReference, type ImageReference } from './image-reference.ts';
import type { LayerSource } from './layer-store.ts';
import type { Registries } from './registries/registries.ts';
import type { RegistryEndpoint } from './registries/registry-config.ts';
import { RegistryClient } from './registry-client.ts';

/** What pulls work with. */
export interface PullKit {
  clock: Clock;
  log: Logger;
  machine: Platform;
  silenceMs?: number;
  /** Told of what comes. */
  onBytes?: () => void;
  /** The configuration of an image that is here. */
  knownDocument?: (id: string) => Promise<Buffer> | undefined;
}

/** An image that was found, and its layers, to be fetched. */
export type FoundImage = Pick<FetchedImage, 'id' | 'configuration' | 'document'> & { size: number; digest: string };
type FoundLayer = Omit<LayerSource, 'open'> & { open: (stop: AbortSignal) => AsyncIterable<Uint8Array> };

/**
 * Asks one server after another for an image and hands what is found to `use`. What a server has wrong (missing,
 * refused, damaged) sends on to the next; what no server can help with (a full disk, a hostile image) ends the pull.
 * The failure of the last server, the registry itself, is the pull's; those of mirrors are told with it.
 */
export async function pullFromEndpoints<T>(
  kit: PullKit,
  endpoints: readonly RegistryEndpoint[],
  reference: ImageReference,
  signal: AbortSignal,
  use: (image: FoundImage, layers: FoundLayer[]) => Promise<T>,
): Promise<T> {
  const failures: { endpoint: RegistryEndpoint; error: ImageError }[] = [];
  for (const endpoint of endpoints) {
    const client = new RegistryClient(endpoint, kit);
    try {
      return await pullFrom(kit, client, reference, signal, use);
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      const error = ImageError.from(cause);
      if (['RESOURCE_EXHAUSTED', 'CANCELLED', 'INVALID_ARGUMENT'].includes(error.code)) throw error;
      failures.push({ endpoint, error });
      kit.log.debug('registry refused', { server: endpoint.baseUrl, error });
    } finally {
      client.close();
    }
  }
  throw combine(reference, failures);
}

function combine(
  reference: ImageReference,
  failures: readonly { endpoint: RegistryEndpoint; error: ImageError }[],
): ImageError {
  const last = failures.at(-1);
  if (!last) return new ImageError('NOT_FOUND', `no server may be asked for ${formatImageReference(reference)}`);
  const mirrors = failures.slice(0, -1).map(({ endpoint, error }) => `${endpoint.baseUrl}: ${error.message}`);
  if (mirrors.length === 0) return last.error;
  return new ImageError(last.error.code, `${last.error.message} (before that, ${mirrors.join('; ')})`, {
    cause: last.error,
  });
}

async function pullFrom<T>(
  kit: PullKit,
  client: RegistryClient,
  reference: ImageReference,
  signal: AbortSignal,
  use: (image: FoundImage, layers: FoundLayer[]) => Promise<T>,
): Promise<T> {
  const full = formatImageReference(reference);
  const first = await client.manifest(reference.digest ?? reference.tag ?? 'latest', signal).catch((cause: unknown) => {
    const error = ImageError.from(cause);
    const text = error.code === 'NOT_FOUND' ? `${full}: not found` : error.message;
    throw new ImageError(error.code, `failed to resolve reference "${full}": ${text}`, { cause });
  });
  const documents = {
    manifest: (digest: string, stop?: AbortSignal) => client.manifest(digest, stop),
    document: async (digest: string, stop?: AbortSignal) =>
      (await kit.knownDocument?.(digest)?.catch(() => undefined)) ?? client.document(digest, stop),
  };
  const image = await readImage(first, documents, kit.machine, signal);
  await faultPoint('pull-image:manifest');
  const { manifest, id, configuration, document } = image;
  const layers = manifest.layers.map((descriptor, at): FoundLayer => {
    const { mediaType, size } = descriptor;
    const diffId = configuration.rootfs.diff_ids[at]!;
    return { diffId, mediaType, size, open: (stop) => client.blob(descriptor, stop) };
  });
  const digest = reference.digest ?? image.topDigest;
  return use({ id, configuration, document, size: packedSize(manifest), digest }, layers);
}

/** What one server answers when it is asked for an image. */
export interface EndpointReport {
  /** The image's name in full. */
  image: string;
  server: string;
  repository: string;
  /** Where the rule for it is written. */
  rule: string;
  /** `user NAME`, `token` … or `none`; never a secret. */
  credentials: string;
  /** `found`, or why not. */
  answer: string;
}

/** Asks every server that a pull would ask, in its order, also those that it would not come to. */
export async function reportEndpoints(
  kit: PullKit,
  registries: Registries,
  references: readonly ImageReference[],
  signal?: AbortSignal,
): Promise<EndpointReport[]> {
  const reports: EndpointReport[] = [];
  for (const reference of references) {
    const image = formatImageReference(reference);
    for (const endpoint of await registries.endpoints(reference, undefined, signal)) {
      const client = new RegistryClient(endpoint, kit);
      const answer = await client.manifest(reference.digest ?? reference.tag ?? 'latest', signal).then(
        () => 'found',
        (error: Error) => error.message,
      );
      client.close();
      const { baseUrl: server, repository, rule } = endpoint;
      reports.push({ image, server, repository, rule, credentials: credentialsOf(endpoint), answer });
    }
  }
  return reports;
}

function credentialsOf({ auth }: RegistryEndpoint): string {
  if (auth?.registryToken || auth?.identityToken) return 'token';
  const user = auth?.username ?? (auth?.auth ? Buffer.from(auth.auth, 'base64').toString().split(':')[0] : undefined);
  return user ? `user ${user}` : 'none';
}

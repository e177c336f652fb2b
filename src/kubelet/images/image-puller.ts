import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Image, PodSandboxConfigSchema } from '../../api/cri/index.ts';
import type { Pod, Secret } from '../../api/index.ts';
import { Backoff, type Clock } from '../../async/index.ts';
import { describeError, PodError } from '../errors.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { ImageUser } from '../pods/security-context.ts';
import { defaultPullPolicy, parseImageName, withDefaultTag } from './image-name.ts';
import { PullQueue } from './pull-queue.ts';
import { matchingCredentials, nodeEntries, secretEntries } from './pull-secrets.ts';

/** An image that is on the node. */
export interface PresentImage {
  /** What containers are created from: the runtime's reference. */
  ref: string;
  user: ImageUser;
}

/** How images are pulled. */
export interface ImagePullerOptions {
  client: RuntimeClient;
  clock: Clock;
  events: PodEvents;
  /** Pulls at once; undefined for any number. Default 1. */
  maximumParallel?: number;
  /** Pulls a second and in a burst; 0 for no limit. */
  pullsPerSecond: number;
  burst: number;
  /** Directory with a `config.json` of the node's own logins. */
  rootDirectory: string;
  /** Told after each pull: the node has one image more. */
  onPulled?: () => void;
  /** Reads a pull secret; undefined when there is none. */
  secret(namespace: string, name: string): Promise<Secret | undefined>;
}

/** What a container asks of an image. */
export interface WantedImage {
  name: string;
  image?: string;
  imagePullPolicy?: string;
}

/** Longest time for a pull, milliseconds: the runtime notices stalls by itself. */
const pullTimeoutMs = 6 * 3600_000;

/** Brings images to the node: policies, logins, queue and back-off. */
export class ImagePuller {
  readonly #options: ImagePullerOptions;
  readonly #queue: PullQueue;
  readonly #backoff: Backoff;
  readonly #failures = new Map<string, { at: number; message: string; reason: string }>();

  constructor(options: ImagePullerOptions) {
    this.#options = options;
    this.#queue = new PullQueue(options);
    this.#backoff = new Backoff({ initialMs: 10_000, maximumMs: 300_000 }, options.clock);
  }

  /**
   * Makes sure that a container's image is there.
   * @throws PodError with the waiting reason that the container's status shows
   */
  async ensure(
    pod: Pod,
    container: WantedImage,
    options: { sandboxConfig?: MessageInitShape<typeof PodSandboxConfigSchema>; signal?: AbortSignal } = {},
  ): Promise<PresentImage> {
    const { events } = this.#options;
    const written = container.image ?? '';
    const image = this.#checkedName(pod, container, written);
    const policy = container.imagePullPolicy || defaultPullPolicy(written);
    const present = policy === 'Always' ? undefined : await this.#find(pod, container, image);
    if (present) {
      const message = `Container image "${written}" already present on machine`;
      events.normal(pod, 'Pulled', message, container.name);
      return present;
    }
    if (policy === 'Never') {
      const message = `Container image "${written}" is not present with pull policy of Never`;
      events.warning(pod, 'ErrImageNeverPull', message, container.name);
      throw new PodError('ErrImageNeverPull', message);
    }
    const key = backoffKey(pod, written);
    this.#checkBackoff(pod, container, written, key);
    try {
      await this.#queue.run(() => this.#pull(pod, container, written, image, options), options.signal);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw this.#noteFailure(pod, container, written, key, error);
    }
    this.#failures.delete(key);
    this.#backoff.reset(key);
    this.#options.onPulled?.();
    const found = await this.#find(pod, container, image);
    if (!found)
      throw new PodError('ImageInspectError', `Failed to inspect image "${written}": not found after the pull`);
    return found;
  }

  /** Milliseconds until a failed pull of the container's image may be tried again. */
  retryInMs(pod: Pod, container: WantedImage): number {
    const key = backoffKey(pod, container.image ?? '');
    const failure = this.#failures.get(key);
    return failure ? this.#backoff.remaining(key, failure.at) : 0;
  }

  /** Forgets what failed for a pod that is gone. */
  forget(podUid: string): void {
    for (const key of this.#failures.keys()) {
      if (!key.startsWith(`${podUid}/`)) continue;
      this.#failures.delete(key);
      this.#backoff.reset(key);
    }
  }

  #checkedName(pod: Pod, container: WantedImage, written: string): string {
    try {
      return withDefaultTag(written);
    } catch (error) {
      this.#options.events.warning(pod, 'InspectFailed', (error as Error).message, container.name);
      throw error;
    }
  }

  #checkBackoff(pod: Pod, container: WantedImage, written: string, key: string): void {
    const failure = this.#failures.get(key);
    if (!failure || this.#backoff.remaining(key, failure.at) <= 0) return;
    this.#options.events.normal(pod, 'BackOff', `Back-off pulling image "${written}"`, container.name);
    throw new PodError(
      'ImagePullBackOff',
      `Back-off pulling image "${written}": ${failure.reason}: ${failure.message}`,
    );
  }

  #noteFailure(pod: Pod, container: WantedImage, written: string, key: string, error: unknown): PodError {
    const said = withoutUnknown(describeError(error));
    // Runtimes say these two by the beginning of the message.
    const reason = pullReasons.find((one) => said.startsWith(one)) ?? 'ErrImagePull';
    const rest = said.slice(reason.length);
    const message =
      reason === 'RegistryUnavailable'
        ? `image pull failed for ${written} because the registry is unavailable${rest}`
        : reason === 'SignatureValidationFailed'
          ? `image pull failed for ${written} because the signature validation failed${rest}`
          : said;
    this.#backoff.next(key);
    this.#failures.set(key, { at: this.#options.clock.now(), message, reason });
    this.#options.events.warning(pod, 'Failed', `Failed to pull image "${written}": ${said}`, container.name);
    return new PodError(reason, message, { cause: error });
  }

  async #find(pod: Pod, container: WantedImage, image: string): Promise<PresentImage | undefined> {
    try {
      const { image: found } = await this.#options.client.images.imageStatus(
        { image: { image } },
        { timeoutMs: 120_000 },
      );
      return found?.id ? { ref: found.id, user: imageUser(found) } : undefined;
    } catch (error) {
      const message = `Failed to inspect image "${container.image}": ${describeError(error)}`;
      this.#options.events.warning(pod, 'InspectFailed', message, container.name);
      throw new PodError('ImageInspectError', message, { cause: error });
    }
  }

  async #pull(
    pod: Pod,
    container: WantedImage,
    written: string,
    image: string,
    options: {
      sandboxConfig?: MessageInitShape<typeof PodSandboxConfigSchema>;
      signal?: AbortSignal;
      queuedAt?: number;
    },
  ): Promise<void> {
    const { client, clock, events } = this.#options;
    const startedAt = clock.monotonic();
    events.normal(pod, 'Pulling', `Pulling image "${written}"`, container.name);
    const credentials = await this.#credentials(pod, written);
    let failure: unknown;
    for (const auth of credentials.length > 0 ? credentials : [undefined]) {
      try {
        await client.images.pullImage(
          {
            image: { image, userSpecifiedImage: written },
            ...(auth ? { auth } : {}),
            ...(options.sandboxConfig ? { sandboxConfig: options.sandboxConfig } : {}),
          },
          { timeoutMs: pullTimeoutMs, ...(options.signal ? { signal: options.signal } : {}) },
        );
        failure = undefined;
        break;
      } catch (error) {
        failure = error;
        options.signal?.throwIfAborted();
      }
    }
    if (failure) throw failure;
    const took = formatSeconds(clock.monotonic() - startedAt);
    const { image: pulled } = await client.images.imageStatus({ image: { image } });
    const size = pulled ? ` Image size: ${pulled.size} bytes.` : '';
    const message = `Successfully pulled image "${written}" in ${took} (${took} including waiting).${size}`;
    events.normal(pod, 'Pulled', message, container.name);
  }

  async #credentials(pod: Pod, image: string) {
    const { rootDirectory, secret, events } = this.#options;
    const sources: ReturnType<typeof secretEntries>[] = [];
    const missing: string[] = [];
    for (const { name } of pod.spec!.imagePullSecrets ?? []) {
      if (!name) continue;
      const found = await secret(pod.metadata.namespace!, name).catch(() => undefined);
      if (found) sources.push(secretEntries(found));
      else missing.push(name);
    }
    if (missing.length > 0) {
      const message = `Unable to retrieve some image pull secrets (${missing.join(', ')}); attempting to pull the image may not succeed.`;
      events.warning(pod, 'FailedToRetrieveImagePullSecret', message);
    }
    sources.push(await nodeEntries([join(rootDirectory, 'config.json'), '/root/.docker/config.json']));
    return matchingCredentials(parseImageName(image), sources);
  }
}

/** Pulls fail by pod and image: another pod may have other logins. */
function backoffKey(pod: Pod, image: string): string {
  return `${pod.metadata.uid}/${image}`;
}

function imageUser(image: Image): ImageUser {
  if (image.uid) return { uid: Number(image.uid.value), username: '' };
  return image.username ? { username: image.username } : { uid: 0, username: '' };
}

/** `1.234s` or `250ms`, as durations are written in events. */
function formatSeconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3).replace(/\.?0+$/, '')}s`;
}

const pullReasons = ['RegistryUnavailable', 'SignatureValidationFailed'] as const;

/** The code of an error that says nothing adds nothing. */
function withoutUnknown(message: string): string {
  return message.replace(/^rpc error: code = Unknown desc = /, '');
}

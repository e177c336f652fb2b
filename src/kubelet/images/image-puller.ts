import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Image, PodSandboxConfigSchema } from '../../api/cri/index.ts';
import type { Pod } from '../../api/index.ts';
import { Backoff, type Clock, unlessAborted } from '../../async/index.ts';
import { describeError, PodError } from '../errors.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { ImageUser } from '../pods/security-context.ts';
import { type ImageCredentialsOptions, imageCredentials } from './image-credentials.ts';
import { defaultPullPolicy, withDefaultTag } from './image-name.ts';
import type { PullAuthorization } from './pull-authorization.ts';
import { PullQueue } from './pull-queue.ts';
import type { PullCredential } from './pull-secrets.ts';

/** An image that is on the node. */
export interface PresentImage {
  /** What containers are created from: the runtime's reference. */
  ref: string;
  user: ImageUser;
}

/** How images are pulled. */
export interface ImagePullerOptions extends ImageCredentialsOptions {
  client: RuntimeClient;
  clock: Clock;
  metrics: KubeletMetrics;
  /** Decides which pods may use what is there, and notes what is pulled. */
  authorization: PullAuthorization;
  /** Pulls at once; undefined for any number. Default 1. */
  maximumParallel?: number;
  /** Pulls a second and in a burst; 0 for no limit. */
  pullsPerSecond: number;
  burst: number;
  /** Told after each pull: the node has one image more. */
  onPulled?: () => void;
}

/** What a container asks of an image. */
export interface WantedImage {
  name: string;
  image?: string;
  imagePullPolicy?: string;
}

/** How an image is looked for. */
export interface EnsureOptions {
  sandboxConfig?: MessageInitShape<typeof PodSandboxConfigSchema>;
  /** Ends a wait or a pull: the pod goes. */
  signal?: AbortSignal;
}

interface Pull extends EnsureOptions {
  pod: Pod;
  container: WantedImage;
  /** As the pod has it, and with a tag. */
  written: string;
  image: string;
  credentials(): Promise<PullCredential[]>;
}

/** Longest time for a pull, milliseconds: the runtime notices stalls by itself. */
const pullTimeoutMs = 6 * 3600_000;

/** Brings images to the node: policies, logins, queue and back-off. */
export class ImagePuller {
  readonly #options: ImagePullerOptions;
  readonly #queue: PullQueue;
  readonly #backoff: Backoff;
  /** The pull of each image that began last, by its name as pods have it. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  readonly #failures = new Map<string, { at: number; message: string; reason: string }>();

  constructor(options: ImagePullerOptions) {
    this.#options = options;
    this.#queue = new PullQueue(options);
    this.#backoff = new Backoff({ initialMs: 10_000, maximumMs: 300_000 }, options.clock);
  }

  /**
   * Makes sure that a container's image is there, and that the pod may use it.
   * @throws PodError with the waiting reason that the container's status shows
   */
  async ensure(pod: Pod, container: WantedImage, options: EnsureOptions = {}): Promise<PresentImage> {
    const written = container.image ?? '';
    const image = this.#checkedName(pod, container, written);
    const policy = container.imagePullPolicy || defaultPullPolicy(written);
    const credentials = once(() => imageCredentials(this.#options, pod, written));
    const pull = { pod, container, written, image, credentials, ...options };
    const present = policy === 'Always' ? undefined : await this.#find(pod, container, image);
    const usable = present && (await this.#mayUse(pull, present));
    this.#options.metrics.count('kubelet_image_manager_ensure_image_requests_total', {
      present_locally: policy === 'Always' ? 'unknown' : String(present !== undefined),
      pull_policy: policy.toLowerCase(),
      pull_required: String(!usable),
    });
    if (usable) return present;
    if (policy === 'Never') {
      const message = `Container image "${written}" is not present with pull policy of Never`;
      this.#options.events.warning(pod, 'ErrImageNeverPull', message, container.name);
      throw new PodError('ErrImageNeverPull', message);
    }
    const key = backoffKey(pod, written);
    this.#checkBackoff(pod, container, written, key);
    const other = policy === 'Always' ? undefined : this.#underWay.get(written);
    const brought = other && (await this.#broughtBy(other, pull));
    return brought ?? this.#pullNoted(pull, key);
  }

  /** Whether the pod may use what is there; then it is told so. */
  async #mayUse({ pod, container, written, credentials }: Pull, present: PresentImage): Promise<boolean> {
    if (await this.#options.authorization.mustPull(written, present.ref, credentials)) return false;
    const message = `Container image "${written}" already present on machine and can be accessed by the pod`;
    this.#options.events.normal(pod, 'Pulled', message, container.name);
    return true;
  }

  /** The image after the pull of another pod has ended, if that brought it for this one too: many pods pull it once. */
  async #broughtBy(other: Promise<unknown>, pull: Pull): Promise<PresentImage | undefined> {
    const ended = other.catch(() => {});
    await (pull.signal ? unlessAborted(ended, pull.signal) : ended);
    const present = await this.#find(pull.pod, pull.container, pull.image);
    return present && (await this.#mayUse(pull, present)) ? present : undefined;
  }

  /** Pulls, and notes how it went. */
  async #pullNoted(pull: Pull, key: string): Promise<PresentImage> {
    const { pod, container, written, signal } = pull;
    const pulling = this.#options.authorization.pulling(written, () => this.#pull(pull));
    this.#underWay.set(written, pulling);
    try {
      const { present } = await pulling;
      this.#failures.delete(key);
      this.#backoff.reset(key);
      this.#options.onPulled?.();
      return present;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof PodError) throw error;
      throw this.#noteFailure(pod, container, written, key, error);
    } finally {
      if (this.#underWay.get(written) === pulling) this.#underWay.delete(written);
    }
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

  async #pull(pull: Pull): Promise<{ present: PresentImage; ref: string; used: PullCredential | undefined }> {
    const { clock, events } = this.#options;
    const { pod, container, written, signal } = pull;
    const askedAt = clock.monotonic();
    events.normal(pod, 'Pulling', `Pulling image "${written}"`, container.name);
    const { used, tookMs } = await this.#queue.run(() => this.#transfer(pull), signal);
    const { image: found } = await this.#options.client.images.imageStatus(
      { image: { image: pull.image } },
      { timeoutMs: 120_000 },
    );
    if (!found?.id)
      throw new PodError('ImageInspectError', `Failed to inspect image "${written}": not found after the pull`);
    const took = `${formatSeconds(tookMs)} (${formatSeconds(clock.monotonic() - askedAt)} including waiting)`;
    const message = `Successfully pulled image "${written}" in ${took}. Image size: ${found.size} bytes.`;
    events.normal(pod, 'Pulled', message, container.name);
    const waited = (clock.monotonic() - askedAt) / 1000;
    const size = { image_size_in_bytes: sizeBucket(Number(found.size)) };
    this.#options.metrics.observe('kubelet_image_pull_duration_seconds', waited, size);
    return { present: { ref: found.id, user: imageUser(found) }, ref: found.id, used };
  }

  /** Has the runtime pull, with one login after another until one is good. */
  async #transfer(pull: Pull): Promise<{ used: PullCredential | undefined; tookMs: number }> {
    const { client, clock } = this.#options;
    const { pod, image, written, sandboxConfig, signal } = pull;
    const startedAt = clock.monotonic();
    const logins = await pull.credentials();
    let failure: unknown;
    for (const used of logins.length > 0 ? logins : [undefined]) {
      try {
        await client.images.pullImage(
          {
            image: { image, userSpecifiedImage: written, annotations: pod.metadata.annotations ?? {} },
            ...(used ? { auth: toAuth(used) } : {}),
            ...(sandboxConfig ? { sandboxConfig } : {}),
          },
          { timeoutMs: pullTimeoutMs, ...(signal ? { signal } : {}) },
        );
        return { used, tookMs: clock.monotonic() - startedAt };
      } catch (error) {
        signal?.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }
}

/** Sizes by which pulls are told apart, megabytes. */
const sizes = ['0', '10MB', '100MB', '500MB', '1GB', '5GB', '10GB', '20GB', '30GB', '40GB', '60GB', '100GB'] as const;
const sizeBytes = [0, 10e6, 100e6, 500e6, 1e9, 5e9, 10e9, 20e9, 30e9, 40e9, 60e9, 100e9];

function sizeBucket(bytes: number): string {
  const at = sizeBytes.findLastIndex((least) => bytes >= least);
  return at === sizes.length - 1 ? 'GT100GB' : `${sizes[at]}-${sizes[at + 1]}`;
}

function toAuth({ username, password, auth, identityToken, registryToken }: PullCredential) {
  return { username, password, auth, identityToken, registryToken };
}

/** Asks at most once. */
function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => (answer ??= ask());
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

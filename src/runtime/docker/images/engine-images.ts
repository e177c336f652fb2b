import { statfs } from 'node:fs/promises';
import type { Clock } from '../../../async/index.ts';
import { messageOf, RuntimeError } from '../../errors.ts';
import {
  formatImageReference,
  type ImageConfiguration,
  type ImageRecord,
  type ImageReference,
  parseImageReference,
  type RegistryAuth,
  repositoryName,
} from '../../images/index.ts';
import { SharedPulls } from '../../images/shared-pulls.ts';
import {
  type Engine,
  type ImageDetails,
  type ImageSummary,
  isConflict,
  isMissing,
  jsonLines,
  type PullProgress,
} from '../engine/index.ts';
import { ownSandboxImage } from '../sandboxes/sandbox-image.ts';

/** What images take is counted at most so often, milliseconds: the engine walks its directories for it. */
const usageFreshMs = 30_000;
/** The engine's words for an image that goes while it is looked at. */
const vanished = /unrecognized image ID|No such image/;
const listAttempts = 10;

/** The engine's images, with names in full: `docker.io/library/busybox:latest` where it says `busybox:latest`. */
export class EngineImages {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #pinned: string;
  /** What never changes of an image, by id. */
  readonly #configurations = new Map<string, ImageConfiguration>();
  readonly #pulls = new SharedPulls<ImageRecord>();
  #usage: { bytes: number; atMs: number } | undefined;

  constructor(engine: Engine, options: { clock: Clock; sandboxImage?: string | undefined }) {
    this.#engine = engine;
    this.#clock = options.clock;
    this.#pinned = canonicalName(options.sandboxImage ?? ownSandboxImage);
  }

  async list(): Promise<ImageRecord[]> {
    const found = await this.#summaries();
    const known = new Set(found.map(({ Id }) => Id));
    for (const id of this.#configurations.keys()) if (!known.has(id)) this.#configurations.delete(id);
    const records = await Promise.all(found.map((one) => this.#complete(one)));
    return records.filter((one) => one !== undefined);
  }

  /** The engine fails over an image that is removed while it makes the list: then it is asked again. */
  async #summaries(): Promise<ImageSummary[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#engine.get<ImageSummary[]>('/images/json');
      } catch (error) {
        if (attempt === listAttempts || !vanished.test(messageOf(error))) throw error;
      }
    }
  }

  /** An image by name, id or the beginning of an id; undefined when there is none. */
  async status(reference: string): Promise<ImageRecord | undefined> {
    const details = await this.#inspect(reference);
    return details && this.#toRecord(details, this.#remember(details));
  }

  /** Fetches an image and gives it. @throws RuntimeError with the engine's reason */
  pull(reference: string, options: { auth?: RegistryAuth; signal?: AbortSignal }): Promise<ImageRecord> {
    const parsed = parseImageReference(reference);
    const key = `${formatImageReference(parsed)}\0${JSON.stringify(options.auth ?? null)}`;
    return this.#pulls.run(key, (signal) => this.#pull(parsed, options.auth, signal), options.signal);
  }

  async #pull(parsed: ImageReference, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<ImageRecord> {
    const message = await this.#engine.stream('POST', '/images/create', {
      query: { fromImage: repositoryName(parsed), tag: parsed.digest ?? parsed.tag ?? 'latest' },
      ...(auth ? { headers: { 'x-registry-auth': authHeader(parsed, auth) } } : {}),
      signal,
    });
    for await (const { error, errorDetail } of jsonLines<PullProgress>(message)) {
      if (!error) continue;
      throw pullError(formatImageReference(parsed), errorDetail?.message ?? error);
    }
    const image = await this.#pulled(formatImageReference(parsed));
    if (!image)
      throw new RuntimeError('UNKNOWN', `image "${formatImageReference(parsed)}" is not there after its pull`);
    return image;
  }

  /** The engine may need a moment to know what it has just fetched while others are being removed. */
  async #pulled(name: string): Promise<ImageRecord | undefined> {
    for (let attempt = 0; attempt < 10; attempt++) {
      const image = await this.status(name);
      if (image) return image;
      await this.#clock.sleep(50);
    }
    return undefined;
  }

  /** Removes an image with all its names; none is no error. @throws RuntimeError while a container uses it */
  async remove(reference: string): Promise<void> {
    const details = await this.#inspect(reference);
    if (!details) return;
    const names = [...(details.RepoTags ?? []), ...(details.RepoDigests ?? [])].filter(
      (one) => !one.includes('<none>'),
    );
    for (const name of names.length > 0 ? names : [details.Id]) await this.#removeName(name);
    // Without a name it may have stayed.
    await this.#removeName(details.Id);
    this.#configurations.delete(details.Id);
  }

  /** What all images take on disk; layers that several have are counted once. */
  async fsInfo(): Promise<{ usedBytes: number; inodesUsed: number; mountpoint: string }> {
    const { DockerRootDir } = await this.#engine.setup();
    const now = this.#clock.monotonic();
    if (!this.#usage || now - this.#usage.atMs > usageFreshMs) {
      const { LayersSize = 0 } = await this.#engine.get<{ LayersSize?: number }>('/system/df', { type: 'image' });
      this.#usage = { bytes: LayersSize, atMs: now };
    }
    const { files, ffree } = await statfs(DockerRootDir);
    return { usedBytes: this.#usage.bytes, inodesUsed: files - ffree, mountpoint: DockerRootDir };
  }

  async #removeName(name: string): Promise<void> {
    try {
      await this.#engine.delete(`/images/${name}`);
    } catch (error) {
      if (isMissing(error) || vanished.test(messageOf(error))) return;
      if (isConflict(error))
        throw new RuntimeError('FAILED_PRECONDITION', `image "${name}" is in use: ${(error as Error).message}`);
      throw error;
    }
  }

  async #inspect(reference: string): Promise<ImageDetails | undefined> {
    try {
      return await this.#engine.get<ImageDetails>(`/images/${engineName(reference)}/json`);
    } catch (error) {
      if (isMissing(error) || vanished.test(messageOf(error))) return undefined;
      throw error;
    }
  }

  /** Undefined for one that was removed meanwhile. */
  async #complete(summary: ImageSummary): Promise<ImageRecord | undefined> {
    const known = this.#configurations.get(summary.Id);
    if (known) return this.#toRecord(summary, known);
    const details = await this.#inspect(summary.Id);
    return details && this.#toRecord(summary, this.#remember(details));
  }

  #remember(details: ImageDetails): ImageConfiguration {
    const configuration = toConfiguration(details);
    this.#configurations.set(details.Id, configuration);
    return configuration;
  }

  #toRecord({ Id, RepoTags, RepoDigests, Size }: ImageSummary, configuration: ImageConfiguration): ImageRecord {
    const named = (list: readonly string[] | null): string[] =>
      (list ?? []).filter((one) => !one.includes('<none>')).map(canonicalName);
    const repoTags = named(RepoTags);
    return {
      id: Id,
      repoTags,
      repoDigests: named(RepoDigests),
      layers: [],
      size: Size,
      pinned: repoTags.includes(this.#pinned),
      configuration,
    };
  }
}

function toConfiguration({ Config, RootFS }: ImageDetails): ImageConfiguration {
  return {
    ...(Config
      ? {
          config: {
            ...given('User', Config.User),
            ...given('Env', Config.Env),
            ...given('Entrypoint', Config.Entrypoint),
            ...given('Cmd', Config.Cmd),
            ...given('WorkingDir', Config.WorkingDir),
            ...given('Volumes', Config.Volumes),
            ...given('StopSignal', Config.StopSignal),
          },
        }
      : {}),
    rootfs: { type: 'layers', diff_ids: RootFS?.Layers ?? [] },
  } as ImageConfiguration;
}

const given = <K extends string, T>(key: K, value: T | null | undefined | ''): { [P in K]?: T } =>
  (value ? { [key]: value } : {}) as { [P in K]?: T };

/** A name of the engine in full. */
function canonicalName(name: string): string {
  return formatImageReference(parseImageReference(name));
}

/** What the engine is asked for: an id as it is, a name in full. */
function engineName(reference: string): string {
  if (/^(sha256:)?[0-9a-f]{12,64}$/.test(reference)) return reference;
  return canonicalName(reference);
}

/** Credentials as the engine takes them. */
function authHeader({ registry }: ImageReference, auth: RegistryAuth): string {
  const [username = '', password = ''] = auth.auth
    ? Buffer.from(auth.auth, 'base64').toString('utf8').split(/:(.*)/s)
    : [auth.username, auth.password];
  const document = {
    username,
    password,
    serveraddress: registry,
    ...(auth.identityToken ? { identitytoken: auth.identityToken } : {}),
    ...(auth.registryToken ? { registrytoken: auth.registryToken } : {}),
  };
  return Buffer.from(JSON.stringify(document)).toString('base64url');
}

/** A failed pull as kubelets understand it. */
function pullError(image: string, message: string): RuntimeError {
  const text = `failed to pull image "${image}": ${message}`;
  if (/manifest unknown|not found/i.test(message)) return new RuntimeError('NOT_FOUND', text);
  if (/unauthorized|denied|authentication required/i.test(message)) return new RuntimeError('PERMISSION_DENIED', text);
  if (/connection refused|no such host|timeout|deadline exceeded/i.test(message))
    return new RuntimeError('UNKNOWN', `RegistryUnavailable: ${text}`);
  return new RuntimeError('UNKNOWN', text);
}

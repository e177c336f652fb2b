import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';

/** A pull secret that an image was pulled with. */
export interface SecretRecord {
  uid: string;
  namespace: string;
  name: string;
  credentialHash: string;
}

/** A service account whose token an image was pulled with. */
export interface ServiceAccountRecord {
  uid: string;
  namespace: string;
  name: string;
}

/** Who may use an image under one name. */
export interface ImageAccess {
  kubernetesSecrets?: SecretRecord[];
  kubernetesServiceAccounts?: ServiceAccountRecord[];
  /** Pulled without a login, or with one of the node. */
  nodePodsAccessible?: boolean;
}

/** An image that this kubelet has pulled. */
export interface PulledRecord {
  lastUpdatedTime: string;
  imageRef: string;
  /** By name without tag and digest. */
  credentialMapping?: Record<string, ImageAccess>;
}

const apiVersion = 'kubelet.config.k8s.io/v1beta1';

/**
 * What this kubelet has pulled and is pulling, in upstream's files: `image_manager/pulled/sha256-…` (ImagePulledRecord)
 * and `image_manager/pulling/sha256-…` (ImagePullIntent: its image is ours even if we die before the record is written).
 * The files are read once; we are the only one who writes them.
 */
export class PullRecords {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  #loaded: Promise<{ pulled: Map<string, PulledRecord>; pulling: Set<string> }> | undefined;

  constructor(rootDirectory: string, clock: Clock, log: Logger) {
    this.#directory = join(rootDirectory, 'image_manager');
    this.#clock = clock;
    this.#log = log;
  }

  /** The record of an image by its id in the runtime. */
  async pulled(imageRef: string): Promise<PulledRecord | undefined> {
    return (await this.#load()).pulled.get(imageRef);
  }

  /** Names of images whose pull has begun, and not ended as far as is known. */
  async pulling(): Promise<ReadonlySet<string>> {
    return (await this.#load()).pulling;
  }

  async beginPull(image: string): Promise<void> {
    const { pulling } = await this.#load();
    if (pulling.has(image)) return;
    await this.#write('pulling', image, { kind: 'ImagePullIntent', apiVersion, image });
    pulling.add(image);
  }

  async endPull(image: string): Promise<void> {
    const { pulling } = await this.#load();
    pulling.delete(image);
    await rm(this.#file('pulling', image), { force: true });
  }

  /** Writes a record; `change` gets the one that is there and gives undefined when nothing changes. */
  async update(
    imageRef: string,
    change: (mapping: Record<string, ImageAccess> | undefined) => Record<string, ImageAccess> | undefined,
  ): Promise<void> {
    const { pulled } = await this.#load();
    const credentialMapping = change(pulled.get(imageRef)?.credentialMapping);
    if (!credentialMapping) return;
    const lastUpdatedTime = new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const record: PulledRecord = { lastUpdatedTime, imageRef, credentialMapping };
    pulled.set(imageRef, record);
    await this.#write('pulled', imageRef, { kind: 'ImagePulledRecord', apiVersion, ...record });
  }

  /** Drops the records of images that are gone, unless they are younger than `before` (milliseconds since 1970). */
  async prune(present: ReadonlySet<string>, before: number): Promise<void> {
    const { pulled } = await this.#load();
    for (const [imageRef, { lastUpdatedTime }] of pulled) {
      if (present.has(imageRef) || Date.parse(lastUpdatedTime) >= before) continue;
      pulled.delete(imageRef);
      await rm(this.#file('pulled', imageRef), { force: true });
    }
  }

  #load() {
    this.#loaded ??= this.#read().catch((error: unknown) => {
      this.#loaded = undefined;
      throw error;
    });
    return this.#loaded;
  }

  async #read() {
    const pulled = new Map<string, PulledRecord>();
    const pulling = new Set<string>();
    for (const kind of ['pulled', 'pulling'] as const) {
      const directory = join(this.#directory, kind);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      for (const name of await readdir(directory)) {
        if (!name.startsWith('sha256-') || name.endsWith('.tmp')) continue;
        try {
          const value = JSON.parse(await readFile(join(directory, name), 'utf8'));
          if (kind === 'pulling') pulling.add(String(value.image));
          else pulled.set(String(value.imageRef), value as PulledRecord);
        } catch (error) {
          this.#log.warn('cannot read a record of a pulled image', { file: join(directory, name), error });
        }
      }
    }
    return { pulled, pulling };
  }

  #file(kind: 'pulled' | 'pulling', key: string): string {
    return join(this.#directory, kind, `sha256-${createHash('sha256').update(key).digest('hex')}`);
  }

  async #write(kind: 'pulled' | 'pulling', key: string, value: object): Promise<void> {
    const file = this.#file(kind, key);
    await writeFile(`${file}.tmp`, `${JSON.stringify(value)}\n`, { mode: 0o600 });
    await rename(`${file}.tmp`, file);
  }
}

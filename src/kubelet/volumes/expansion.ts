import { objectKey, type PersistentVolumeClaim, type Pod, quantityValue, resources } from '../../api/index.ts';
import { type Clock, KeyedQueue } from '../../async/index.ts';
import { type ApiClient, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import type { SetUpRequest, VolumePlugin } from './plugin.ts';

/** What growing volumes needs. */
export interface ExpansionOptions {
  client: ApiClient | undefined;
  /** Write events of a pod: what happened as it should, and what should be looked at. */
  note: (pod: Pod, reason: string, message: string) => void;
  warn: (pod: Pod, reason: string, message: string) => void;
  log: Logger;
  clock: Clock;
}

/** A volume of a pod that can grow. */
interface Followed {
  plugin: VolumePlugin;
  request: SetUpRequest;
  claim: string;
}

/** One watched claim and the volumes that follow it. */
interface Watched {
  /** As last seen. */
  seen: PersistentVolumeClaim | undefined;
  end: AbortController;
  users: Set<string>;
}

/** Time between looks at a claim, milliseconds: nodes may get claims of their pods, but not watch them. */
const lookMs = 5_000;

/** Conditions of a claim that end when its volume has grown. */
const resizeConditions = new Set(['Resizing', 'FileSystemResizePending', 'NodeResizeError']);

/**
 * Grows volumes that are in use: their claims are looked at now and then, and when a persistent volume is greater than what its claim
 * says it has, the plugin grows what is on the node, and the claim says so.
 */
export class Expansion {
  readonly #options: ExpansionOptions;
  readonly #followed = new Map<string, Followed>();
  readonly #claims = new Map<string, Watched>();
  readonly #queue: KeyedQueue;

  constructor(options: ExpansionOptions) {
    this.#options = options;
    this.#queue = new KeyedQueue((key, signal) => this.#expand(key, signal), {
      clock: options.clock,
      retryInitialMs: 1000,
      retryMaximumMs: 122_000,
      onError: (key, error) => this.#failed(key, error),
    });
  }

  /** Grows the volume now if it has to, and whenever it has to from now on. */
  follow(plugin: VolumePlugin, request: SetUpRequest): void {
    const { claim } = request.volume;
    if (!plugin.expand || !claim || !this.#options.client) return;
    const claimKey = objectKey(claim);
    const key = `${request.podUid}/${request.name}`;
    this.#followed.set(key, { plugin, request, claim: claimKey });
    const known = this.#claims.get(claimKey);
    if (known) {
      known.users.add(key);
      return this.#queue.add(key);
    }
    const watched: Watched = { seen: undefined, end: new AbortController(), users: new Set([key]) };
    this.#claims.set(claimKey, watched);
    void this.#look(claim, watched);
  }

  async #look({ metadata }: PersistentVolumeClaim, watched: Watched): Promise<void> {
    const { client, clock, log } = this.#options;
    const { namespace = '', name } = metadata;
    const { signal } = watched.end;
    while (!signal.aborted) {
      try {
        const now = await client!.get(resources.persistentvolumeclaims, name, { namespace, signal });
        const isNew = watched.seen?.metadata.resourceVersion !== now.metadata.resourceVersion;
        watched.seen = now;
        if (isNew) for (const user of watched.users) this.#queue.add(user);
      } catch (error) {
        if (isNotFound(error)) watched.seen = undefined;
        else if (!signal.aborted) log.debug('cannot look at a claim', { claim: name, error });
      }
      await clock.sleep(lookMs, signal).catch(() => {});
    }
  }

  forget(podUid: string): void {
    for (const [key, { claim }] of this.#followed) {
      if (!key.startsWith(`${podUid}/`)) continue;
      this.#followed.delete(key);
      const watched = this.#claims.get(claim);
      watched?.users.delete(key);
      if (!watched || watched.users.size > 0) continue;
      watched.end.abort();
      this.#claims.delete(claim);
    }
  }

  async stop(): Promise<void> {
    for (const { end } of this.#claims.values()) end.abort();
    await this.#queue.stop();
  }

  async #expand(key: string, signal: AbortSignal): Promise<void> {
    const followed = this.#followed.get(key);
    const claim = followed && this.#claims.get(followed.claim)?.seen;
    if (!claim || !mayHaveGrown(claim)) return;
    const { plugin, request } = followed;
    const client = this.#options.client!;
    const persistentVolume = await client.get(resources.persistentvolumes, claim.spec?.volumeName ?? '', { signal });
    const size = persistentVolume.spec?.capacity?.['storage'];
    const present = claim.status?.capacity?.['storage'];
    if (!size || !present || quantityValue(size) <= quantityValue(present)) return;
    const grown = await plugin.expand!({
      ...request,
      volume: { ...request.volume, claim, persistentVolume },
      signal,
    });
    if (!grown) return;
    await this.#say(claim, size);
    const text = `MountVolume.NodeExpandVolume succeeded for volume "${persistentVolume.metadata.name}" `;
    this.#options.note(request.pod, 'FileSystemResizeSuccessful', text);
  }

  /** Writes the size that the claim has now, and that nothing is pending. */
  async #say({ metadata, status }: PersistentVolumeClaim, size: string): Promise<void> {
    const { namespace = '', name } = metadata;
    const conditions = (status?.conditions ?? []).filter(({ type }) => !resizeConditions.has(type));
    const allocated = status?.allocatedResourceStatuses?.['storage'] === undefined ? {} : { storage: null };
    await this.#options.client!.patch(
      resources.persistentvolumeclaims,
      name,
      { status: { capacity: { storage: size }, conditions, allocatedResourceStatuses: allocated } },
      { namespace, type: 'merge', subresource: 'status' },
    );
  }

  #failed(key: string, error: unknown): void {
    const followed = this.#followed.get(key);
    if (!followed) return;
    const { request } = followed;
    const text = error instanceof Error ? error.message : String(error);
    const message = `NodeExpandVolume.NodeExpandVolume failed for volume "${request.volume.directoryName}" : ${text}`;
    this.#options.warn(request.pod, 'VolumeResizeFailed', message);
  }
}

/** A claim that asks for no more than it has cannot have a greater volume: nothing needs to be asked. */
function mayHaveGrown({ spec, status }: PersistentVolumeClaim): boolean {
  const wanted = spec?.resources?.requests?.['storage'];
  const present = status?.capacity?.['storage'];
  return wanted !== undefined && present !== undefined && quantityValue(wanted) > quantityValue(present);
}

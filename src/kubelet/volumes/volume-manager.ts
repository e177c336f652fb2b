import type { Node, Pod, Volume } from '../../api/index.ts';
import { type Clock, KeyedQueue, SerialRunner, unlessAborted } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import type { PodVolumes, VolumeStatistics } from '../pods/ports.ts';
import { AttachedVolumes } from './attached-volumes.ts';
import { Attempts } from './attempts.ts';
import { DeviceMounts } from './device-mounts.ts';
import { Expansion } from './expansion.ts';
import { podsOnDisk, subPathTarget, volumePath, volumesOnDisk } from './layout.ts';
import type { Operations } from './operations.ts';
import type { ResolvedVolume, SetUpRequest, VolumePlugin } from './plugin.ts';
import { removePodDirectories, tearDownUnknown } from './remove-pod-directory.ts';
import { resolveVolume } from './resolve.ts';
import { settleAll } from './settle-all.ts';
import { bindSubPath } from './sub-path.ts';
import { usedVolumes } from './used-volumes.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumeMeter } from './volume-meter.ts';

/** What the manager works with. */
export interface VolumeManagerOptions {
  /** The kubelet's root directory. */
  root: string;
  /** Undefined: static pods only, without objects of the API. */
  client: ApiClient | undefined;
  plugins: readonly VolumePlugin[];
  node: () => Node | undefined;
  /** Tells that {@link VolumeManager.inUse} has changed: the node's status should be written soon. */
  onInUse: () => void;
  /** Write events of a pod: what happened as it should, and what should be looked at. */
  note: (pod: Pod, reason: string, message: string) => void;
  warn: (pod: Pod, reason: string, message: string) => void;
  operations: Operations;
  /** Time between looks at what changes unheard, milliseconds. */
  resyncMs: number;
  meter: VolumeMeter;
  log: Logger;
  clock: Clock;
}

/** How long a pod's volumes may hold up those of others that are taken on again, milliseconds. */
const adoptionMs = 10_000;

/** A volume of a pod that has been set up. */
interface Mounted {
  plugin: VolumePlugin;
  request: SetUpRequest;
  /** What containers get. */
  hostPath: string;
}

/** A pod with what has become of its volumes, by their names in it. */
interface Entry {
  pod: Pod;
  readonly mounted: Map<string, Mounted>;
  /** Why volumes cannot even be looked up. */
  readonly unresolved: Map<string, string>;
  /** Ends what is done for the pod's volumes without anybody waiting. */
  readonly end: AbortController;
}

/**
 * Brings pods' volumes to where their containers want them, and takes them away. What must be known after a restart is
 * on disk: memory only says what has been done in this life, so that it is not done again.
 *
 * Invariants: one operation at a time for a volume of a pod; a pod's directory goes only after all its volumes; devices
 * go only when no pod has them.
 */
export class VolumeManager implements PodVolumes {
  readonly #options: VolumeManagerOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #attempts: Attempts;
  readonly #serial = new SerialRunner();
  readonly #devices: DeviceMounts;
  readonly #attached: AttachedVolumes;
  readonly #refresh: KeyedQueue;
  /** Pods whose volumes are taken on again, few at a time. */
  readonly #adoption: KeyedQueue;
  readonly #expansion: Expansion;
  /** Operations under way, by pod. */
  readonly #working = new Map<string, Set<Promise<unknown>>>();

  constructor(options: VolumeManagerOptions) {
    this.#options = options;
    const { clock, log, root, plugins } = options;
    this.#attempts = new Attempts(clock);
    this.#devices = new DeviceMounts(root, plugins);
    this.#expansion = new Expansion(options);
    this.#attached = new AttachedVolumes(root, plugins, options.onInUse);
    this.#attached.rebuild().catch((error: unknown) => log.warn('cannot find attached volumes', { error }));
    this.#adoption = new KeyedQueue((podUid) => this.#adopt(podUid), {
      clock,
      retryInitialMs: 5_000,
      retryMaximumMs: 122_000,
      onError: (podUid, error) =>
        log.info('volumes of a pod that runs cannot all be taken on again', { podUid, error }),
    });
    this.#refresh = new KeyedQueue((podUid) => this.#rewrite(podUid), {
      clock,
      retryInitialMs: 500,
      retryMaximumMs: 60_000,
      onError: (podUid, error) => log.warn('volumes not refreshed', { podUid, error }),
    });
  }

  async mount(pod: Pod, signal: AbortSignal = new AbortController().signal): Promise<Map<string, string>> {
    const entry = this.#entryOf(pod);
    const volumes = usedVolumes(pod).filter(({ image }) => !image);
    await Promise.all(volumes.map((volume) => this.#bring(entry, volume, signal))).catch((cause: unknown) => {
      if (!signal.aborted) throw cause;
      throw this.#timeout(entry, volumes, signal);
    });
    return new Map(volumes.map(({ name }) => [name, hostPathOf(entry, name)]));
  }

  adopt(pod: Pod): void {
    if (this.#entries.has(pod.metadata.uid)) return;
    this.#entryOf(pod);
    this.#adoption.add(pod.metadata.uid);
  }

  async #adopt(podUid: string): Promise<void> {
    const entry = this.#entries.get(podUid);
    if (!entry) return;
    // Others get their turn while this pod waits for something.
    const patience = AbortSignal.timeout(adoptionMs);
    const signal = AbortSignal.any([entry.end.signal, patience]);
    await this.mount(entry.pod, signal).catch((error: unknown) => {
      if (!entry.end.signal.aborted) throw error;
    });
  }

  subPath(
    pod: Pod,
    request: { container: string; mountIndex: number; volume: string; volumePath: string; subPath: string },
  ): Promise<string> {
    const { container, mountIndex, volume } = request;
    const target = subPathTarget(this.#options.root, pod.metadata.uid, volume, container, mountIndex);
    return bindSubPath(request.volumePath, request.subPath, target);
  }

  async unmount(podUid: string): Promise<void> {
    const { root, plugins, operations } = this.#options;
    this.#entries.get(podUid)?.end.abort(new Error('the pod has gone'));
    this.#entries.delete(podUid);
    this.#attempts.forgetOwner(podUid);
    this.#options.meter.forget(podUid);
    for (const { forget } of plugins) forget?.(podUid);
    this.#expansion.forget(podUid);
    // What is being made is made, or given up, before it is looked for.
    await Promise.allSettled(this.#working.get(podUid) ?? []);
    await Promise.all([this.#devices.rebuild(), this.#attached.rebuild()]);
    await removePodDirectories(root, podUid, ['volume-subpaths']);
    await settleAll(
      (await volumesOnDisk(root, podUid)).map((found) =>
        this.#serial.run(`${podUid}/${found.name}`, async () => {
          const plugin = plugins.find(({ name }) => name === found.plugin);
          await operations.measure(found.plugin, found.mode === 'Block' ? 'unmap_volume' : 'volume_unmount', () =>
            plugin ? plugin.tearDown(found) : tearDownUnknown(found),
          );
        }),
      ),
    );
    await this.#devices.releasePod(podUid);
    this.#attached.releasePod(podUid);
    await removePodDirectories(root, podUid);
  }

  update(pod: Pod): void {
    const entry = this.#entries.get(pod.metadata.uid);
    if (!entry) return;
    entry.pod = pod;
    if (this.#follows(entry)) this.#refresh.add(pod.metadata.uid);
  }

  /** Objects that volumes of these pods follow have changed. */
  changed(podUids: Iterable<string>): void {
    for (const podUid of podUids) {
      this.#attempts.wake(podUid);
      const entry = this.#entries.get(podUid);
      if (entry && this.#follows(entry)) this.#refresh.add(podUid);
    }
  }

  async collect(known: ReadonlySet<string>): Promise<void> {
    const all = await podsOnDisk(this.#options.root);
    const orphans = all.filter((podUid) => !known.has(podUid) && !this.#entries.has(podUid));
    await settleAll([...orphans.map((podUid) => this.unmount(podUid)), this.#devices.collect()]);
  }

  statistics(): VolumeStatistics[] {
    return this.#options.meter.statistics();
  }

  inUse(): string[] | undefined {
    return this.#attached.names();
  }

  async stop(): Promise<void> {
    this.#options.meter.stop();
    for (const { end } of this.#entries.values()) end.abort(new Error('the kubelet ends'));
    await Promise.all([this.#refresh.stop(), this.#adoption.stop()]);
    await this.#expansion.stop();
    for (const plugin of this.#options.plugins) await plugin.stop?.();
  }

  #entryOf(pod: Pod): Entry {
    const { uid } = pod.metadata;
    const entry = this.#entries.get(uid) ?? {
      pod,
      mounted: new Map(),
      unresolved: new Map(),
      end: new AbortController(),
    };
    entry.pod = pod;
    this.#entries.set(uid, entry);
    return entry;
  }

  /** Sets one volume up, however often it takes. */
  async #bring(entry: Entry, volume: Volume, signal: AbortSignal): Promise<void> {
    const { uid } = entry.pod.metadata;
    const key = `${uid}/${volume.name}`;
    if (entry.mounted.has(volume.name)) return;
    const onFailure = (error: unknown): void => this.#tell(entry, volume, error);
    await this.#attempts.until(key, { owner: uid, signal, onFailure }, async () => {
      const resolved = await this.#resolve(entry, volume);
      await this.#run(uid, resolved.directoryName, async () => {
        if (entry.mounted.has(volume.name) || this.#entries.get(uid) !== entry) return;
        entry.mounted.set(volume.name, await this.#setUp(entry.pod, resolved, signal));
      });
    });
    this.#resyncLater(entry);
  }

  /** Runs an operation in the turn of its volume. */
  async #run(podUid: string, name: string, task: () => Promise<void>): Promise<void> {
    const running = this.#serial.run(`${podUid}/${name}`, task);
    const all = this.#working.get(podUid) ?? new Set();
    this.#working.set(podUid, all.add(running));
    try {
      await running;
    } finally {
      all.delete(running);
      if (all.size === 0) this.#working.delete(podUid);
    }
  }

  /** Nobody tells of changes of what some volumes follow. */
  #resyncLater({ pod, mounted }: Entry): void {
    if ([...mounted.values()].some(({ plugin, request }) => plugin.resyncs?.(request.volume)))
      this.#refresh.addAfter(pod.metadata.uid, this.#options.resyncMs);
  }

  async #resolve(entry: Entry, volume: Volume): Promise<ResolvedVolume> {
    try {
      const resolved = await resolveVolume(this.#options.client, entry.pod, volume);
      entry.unresolved.delete(volume.name);
      return resolved;
    } catch (error) {
      entry.unresolved.set(volume.name, textOf(error));
      throw error;
    }
  }

  async #setUp(pod: Pod, volume: ResolvedVolume, signal: AbortSignal): Promise<Mounted> {
    const { root, operations } = this.#options;
    const plugin = this.#pluginOf(volume);
    const { uid } = pod.metadata;
    const { directoryName: name, mode } = volume;
    const path = volumePath(root, uid, plugin.name, name, mode);
    const request: SetUpRequest = {
      ...{ podUid: uid, plugin: plugin.name, name, path, mode, pod, volume, signal },
      ...fsGroupOf(pod),
    };
    const user = `${uid}/${plugin.name}/${name}`;
    await this.#attach(plugin, request, user);
    const block = mode === 'Block';
    const what = block ? 'MapVolume.SetUpDevice' : 'MountVolume.MountDevice';
    const devicePath = await during(what, volume, async () => plugin.device?.path(volume, pod));
    if (devicePath) {
      request.devicePath = devicePath;
      await during(what, volume, () =>
        this.#devices.use(devicePath, user, () =>
          operations.measure(plugin.name, block ? 'map_device' : 'volume_mount_device', () =>
            plugin.device!.mount({ ...request, devicePath }),
          ),
        ),
      );
    }
    const hostPath = await during(block ? 'MapVolume.MapPodDevice' : 'MountVolume.SetUp', volume, () =>
      operations.measure(plugin.name, block ? 'map_volume' : 'volume_mount', () => plugin.setUp(request)),
    );
    this.#options.meter.follow(plugin, request);
    this.#expansion.follow(plugin, request);
    return { plugin, request, hostPath };
  }

  async #attach({ attach }: VolumePlugin, request: SetUpRequest, user: string): Promise<void> {
    const unique = await attach?.uniqueName(request.volume, request.pod);
    if (!unique) return;
    this.#attached.add(unique, user);
    request.attachment = await during('MountVolume.WaitForAttach', request.volume, () =>
      this.#options.operations.measure(request.plugin, 'verify_controller_attached_volume', () =>
        unlessAborted(attach!.wait(request.volume, request.pod, request.signal), request.signal),
      ),
    );
  }

  #pluginOf(volume: ResolvedVolume): VolumePlugin {
    const plugin = this.#options.plugins.find((one) => one.supports(volume));
    if (plugin) return plugin;
    const source = volume.persistentVolume?.spec ?? volume.volume;
    const kind = Object.entries(source).find(([key, value]) => key !== 'claimRef' && isSource(value))?.[0] ?? 'none';
    const text = `no volume plugin matched: ${kind} volumes are not supported by this kubelet`;
    throw new VolumeError('INVALID', `MountVolume.SetUp failed for volume "${volume.directoryName}" : ${text}`);
  }

  #follows({ mounted }: Entry): boolean {
    return [...mounted.values()].some(({ plugin, request }) => plugin.follows?.(request.volume));
  }

  /** Sets up anew what follows the API. */
  async #rewrite(podUid: string): Promise<void> {
    const entry = this.#entries.get(podUid);
    if (!entry) return;
    const following = [...entry.mounted.values()].filter(({ plugin, request }) => plugin.follows?.(request.volume));
    for (const { plugin, request } of following) {
      await this.#run(podUid, request.name, async () => {
        if (this.#entries.get(podUid) !== entry) return;
        const signal = AbortSignal.timeout(60_000);
        await during('MountVolume.SetUp', request.volume, () =>
          plugin.setUp({ ...request, ...fsGroupOf(entry.pod), pod: entry.pod, signal }),
        ).catch((error: unknown) => {
          this.#options.warn(entry.pod, 'FailedMount', textOf(error));
          throw error;
        });
      });
    }
    this.#resyncLater(entry);
  }

  #tell(entry: Entry, volume: Volume, error: unknown): void {
    const text = textOf(error);
    const reason = text.startsWith('MapVolume') ? 'FailedMapVolume' : 'FailedMount';
    const message = entry.unresolved.has(volume.name) ? unmountedText([volume.name], [volume.name], text) : text;
    this.#options.warn(entry.pod, reason, message);
  }

  #timeout(entry: Entry, volumes: Volume[], signal: AbortSignal): VolumeError {
    const missing = volumes
      .map(({ name }) => name)
      .filter((name) => !entry.mounted.has(name))
      .sort();
    const unprocessed = missing.filter((name) => entry.unresolved.has(name));
    const reasons = unprocessed.map((name) => entry.unresolved.get(name));
    const text = [...reasons, 'context deadline exceeded'].join(': ');
    return new VolumeError('TIMEOUT', unmountedText(missing, unprocessed, text), { cause: signal.reason });
  }
}

function hostPathOf({ mounted }: Entry, name: string): string {
  const found = mounted.get(name);
  if (!found) throw new VolumeError('FAILED', `volume "${name}" was taken away while it was being set up`);
  return found.hostPath;
}

function unmountedText(missing: string[], unprocessed: string[], reason: string): string {
  const list = (names: string[]): string => `[${names.join(' ')}]`;
  return `Unable to attach or mount volumes: unmounted volumes=${list(missing)}, unattached volumes=[], failed to process volumes=${list(unprocessed)}: ${reason}`;
}

function isSource(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fsGroupOf({ spec }: Pod): Pick<SetUpRequest, 'fsGroup'> {
  const { fsGroup, fsGroupChangePolicy } = spec.securityContext ?? {};
  if (fsGroup === undefined) return {};
  return { fsGroup: { gid: fsGroup, onRootMismatch: fsGroupChangePolicy === 'OnRootMismatch' } };
}

/** Says in an error which step it was for which volume. */
async function during<T>(what: string, volume: ResolvedVolume, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (cause) {
    const code = cause instanceof VolumeError ? cause.code : 'FAILED';
    throw new VolumeError(code, `${what} failed for volume "${volume.directoryName}" : ${textOf(cause)}`, { cause });
  }
}

import { dirname } from 'node:path';
import type { ContainerStats } from '../../api/cri/index.ts';
import type { Clock } from '../../async/index.ts';
import { type CgroupTree, openCgroups } from '../../host/cgroups/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import type { PodVolumes } from '../pods/ports.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { type RuntimeContainer, type RuntimePod, readySandbox } from '../pods/runtime-state.ts';
import { makeBreather } from './breather.ts';
import { CgroupIndex } from './cgroup-index.ts';
import { fromRuntime } from './container-usage.ts';
import { measureLogs, type TreeUsage } from './disk-usage.ts';
import { Fresh } from './fresh.ts';
import { type ImageFileSystems, readImageFileSystems } from './image-file-systems.ts';
import { type InterfaceUsage, readInterfaces } from './network-usage.ts';
import { type NodeUsage, readNodeUsage } from './node-usage.ts';
import { ProcessorRates } from './processor-rates.ts';
import type { ContainerUsage, DiskUsage, PodUsage, Usage } from './usage.ts';

/** What statistics are read from. */
export interface StatisticsOptions {
  settings: KubeletSettings;
  client: RuntimeClient;
  cache: RuntimeCache;
  /** How full volumes are, as last measured. */
  volumes: Pick<PodVolumes, 'statistics'>;
  clock: Clock;
  log: Logger;
}

/** How long what was read is good for, milliseconds. */
const keepMs = 1000;
/** The same of writable layers, which runtimes may have to add up. */
const layersKeepMs = 10_000;
/** Between the first two looks, so that even the first answer can tell rates. */
const firstLookMs = 200;

/**
 * What pods and the node use, read when somebody asks: from the files of cgroups, so that it costs no runtime anything;
 * from the runtime only what has no cgroup here. Nothing is read while nobody asks.
 */
export class Statistics {
  readonly #options: StatisticsOptions;
  readonly #tree: CgroupTree | undefined;
  readonly #index: CgroupIndex | undefined;
  readonly #rates = new ProcessorRates();
  #hasLooked = false;
  /** Cgroups of which files may be open. */
  #sampled = new Set<string>();
  readonly #pods: Fresh<PodUsage[]>;
  readonly #layers: Fresh<DiskUsage['layers']>;
  readonly #images: Fresh<ImageFileSystems>;

  constructor(options: StatisticsOptions) {
    const { settings, client, clock, log } = options;
    this.#options = options;
    this.#tree = openTree(log);
    this.#index = this.#tree && new CgroupIndex(this.#tree, settings.configuration.cgroupRoot || '/');
    this.#pods = new Fresh(clock, keepMs, () => this.#readPods());
    this.#layers = new Fresh(clock, layersKeepMs, () => this.#readLayers());
    this.#images = new Fresh(clock, keepMs, () => readImageFileSystems(client));
  }

  /** The machine's control groups; undefined when there are none. */
  get tree(): CgroupTree | undefined {
    return this.#tree;
  }

  /** The cgroups above those of pods, from the root down; the first holds all pods. */
  parents(): string[] {
    const root = this.#index?.root();
    return root ? [root, ...this.#index!.classes()] : [];
  }

  /** The runtime's own cgroup, where `--runtime-cgroups` names it. */
  runtimeCgroup(): string | undefined {
    return this.#options.settings.runtimeCgroups || undefined;
  }

  /** The pods with a ready sandbox and what they use. */
  pods(): Promise<PodUsage[]> {
    return this.#pods.get();
  }

  /** What the machine uses. */
  node(): NodeUsage {
    return readNodeUsage(this.#options.settings.rootDirectory, this.#tree, this.#options.clock.now());
  }

  /** File systems of images and of containers. */
  images(): Promise<ImageFileSystems> {
    return this.#images.get();
  }

  /** What a cgroup uses; undefined when it is not there. */
  usage(cgroup: string): Usage | undefined {
    const atMs = this.#options.clock.now();
    const sample = this.#tree?.sample(cgroup);
    return sample && { ...sample, atMs, cpuNanoCores: this.#rates.note(cgroup, Number(sample.cpuNs), atMs) };
  }

  /** A rate of something else whose processor time is known. */
  rate(key: string, nanoseconds: number): number | undefined {
    return this.#rates.note(key, nanoseconds, this.#options.clock.now());
  }

  /** What disks hold of these pods. */
  async disks(pods: readonly PodUsage[]): Promise<DiskUsage> {
    const layers = await this.#layers.get().catch((): DiskUsage['layers'] => new Map());
    const logs = new Map<string, TreeUsage>();
    for (const { containers } of pods)
      for (const { id, logPath } of containers) if (logPath) logs.set(id, await measureLogs(dirname(logPath)));
    return { layers, logs, volumes: Map.groupBy(this.#options.volumes.statistics(), ({ podUid }) => podUid) };
  }

  async #readPods(): Promise<PodUsage[]> {
    const { clock } = this.#options;
    if (!this.#hasLooked) {
      this.#hasLooked = true;
      await this.#readOnce();
      await clock.sleep(firstLookMs);
    }
    return this.#readOnce();
  }

  async #readOnce(): Promise<PodUsage[]> {
    const { cache, clock } = this.#options;
    this.#noteWhole();
    this.#index?.refresh();
    const breathe = makeBreather(() => clock.monotonic());
    const pods: PodUsage[] = [];
    const unknown: { pod: PodUsage; container: RuntimeContainer }[] = [];
    for (const uid of cache.podUids()) {
      const pod = this.#readPod(cache.pod(uid), unknown);
      if (pod) pods.push(pod);
      await breathe();
    }
    if (unknown.length > 0) await this.#askRuntime(unknown);
    this.#forgetGone(pods);
    return pods;
  }

  /** Of what is above pods a rate is told by others, who look later. */
  #noteWhole(): void {
    const { user, system } = process.cpuUsage();
    this.rate('node', this.node().cpuNanoseconds);
    this.rate('kubelet', (user + system) * 1000);
    for (const cgroup of this.parents()) this.usage(cgroup);
  }

  #readPod(pod: RuntimePod, unknown: { pod: PodUsage; container: RuntimeContainer }[]): PodUsage | undefined {
    const sandbox = readySandbox(pod);
    if (!sandbox) return undefined;
    const { uid, name, namespace, containers } = pod;
    const cgroup = this.#index?.pod(uid);
    const found: PodUsage = {
      ...{ uid, name, namespace, cgroup, hostNetwork: sandbox.hostNetwork },
      sandboxId: sandbox.id,
      startedAt: sandbox.createdAt,
      usage: cgroup === undefined ? undefined : this.usage(cgroup),
      network: sandbox.hostNetwork || cgroup === undefined ? undefined : this.#network(cgroup),
      containers: [],
    };
    for (const container of containers) {
      if (container.state !== 'running') continue;
      const path = this.#index?.container(uid, container.id);
      const usage = path === undefined ? undefined : this.usage(path);
      if (usage) found.containers.push(toContainerUsage(container, path, usage));
      else unknown.push({ pod: found, container });
    }
    return found;
  }

  #network(cgroup: string): InterfaceUsage[] | undefined {
    for (const pid of this.#tree!.processes(cgroup).slice(0, 3)) {
      const interfaces = readInterfaces(pid);
      if (interfaces) return interfaces;
    }
    return undefined;
  }

  /** Containers without a cgroup here (in a machine of their own) are known to the runtime. */
  async #askRuntime(unknown: { pod: PodUsage; container: RuntimeContainer }[]): Promise<void> {
    const { client } = this.#options;
    const { stats } = await client.runtime.listContainerStats({}, { timeoutMs: 10_000 }).catch(() => ({ stats: [] }));
    const byId = new Map<string, ContainerStats>(stats.map((one) => [one.attributes?.id ?? '', one]));
    for (const { pod, container } of unknown) {
      const told = byId.get(container.id);
      const usage = told && fromRuntime(told);
      if (!usage) continue;
      const cpuNanoCores = usage.cpuNanoCores ?? this.#rates.note(container.id, Number(usage.cpuNs), usage.atMs);
      pod.containers.push(toContainerUsage(container, undefined, { ...usage, cpuNanoCores }));
    }
  }

  async #readLayers(): Promise<DiskUsage['layers']> {
    const { stats } = await this.#options.client.runtime.listContainerStats({}, { timeoutMs: 10_000 });
    return new Map(
      stats.flatMap(({ attributes, writableLayer }) =>
        writableLayer
          ? [
              [
                attributes?.id ?? '',
                {
                  bytes: Number(writableLayer.usedBytes?.value ?? 0n),
                  inodes: Number(writableLayer.inodesUsed?.value ?? 0n),
                  mountpoint: writableLayer.fsId?.mountpoint ?? '',
                },
              ],
            ]
          : [],
      ),
    );
  }

  #forgetGone(pods: readonly PodUsage[]): void {
    const ids = new Set(pods.flatMap(({ containers }) => containers.map(({ id }) => id)));
    this.#index?.keep(ids);
    const cgroups = new Set(
      pods.flatMap(({ cgroup, containers }) =>
        [cgroup, ...containers.map((one) => one.cgroup)].filter((one) => one !== undefined),
      ),
    );
    for (const cgroup of this.#sampled) if (!cgroups.has(cgroup)) this.#tree?.forget(cgroup);
    this.#sampled = cgroups;
    const own = ['node', 'kubelet', this.runtimeCgroup() ?? '', ...this.parents()];
    this.#rates.keep(new Set([...own, ...ids, ...cgroups]));
  }
}

function toContainerUsage(container: RuntimeContainer, cgroup: string | undefined, usage: Usage): ContainerUsage {
  const { id, name, image, startedAt, logPath } = container;
  return { id, name, image, startedAt, logPath, cgroup, usage };
}

function openTree(log: Logger): CgroupTree | undefined {
  try {
    return openCgroups();
  } catch (error) {
    log.warn('no statistics of cgroups', { error });
    return undefined;
  }
}

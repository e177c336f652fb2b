import { readdir } from 'node:fs/promises';
import type { Pod } from '../../api/index.ts';
import { type Clock, SerialRunner } from '../../async/index.ts';
import { type CgroupLimits, type CgroupTree, openCgroups } from '../../host/cgroups/index.ts';
import type { Logger } from '../../log/index.ts';
import { type QosClass, qosClass } from '../pods/container-resources.ts';
import type { PodCgroupState, PodCgroups } from '../pods/ports.ts';
import { type CgroupDriver, type CgroupNames, type CgroupSteps, cgroupNames } from './cgroup-names.ts';
import { type PodLimitOptions, podLimits } from './pod-limits.ts';
import { type Amounts, podRequests } from './pod-requests.ts';
import { qosLimits } from './qos-limits.ts';
import { openSlices, type Slices } from './systemd-slices.ts';

/** What the cgroups of pods need to know. */
export interface PodCgroupsOptions extends PodLimitOptions {
  /** Everything is below this cgroup: `/` or `/deckhand-x`. */
  cgroupRoot: string;
  /** How cgroups are named (the runtime's RuntimeConfig). */
  driver: CgroupDriver;
  /** Pods have cgroups by class (else containers are in the root). */
  perQos?: boolean;
  /** What all pods may have together; undefined limits are not set. */
  allPods: CgroupLimits;
  /** Thousandths of requested memory that are kept from lower classes; undefined: none. */
  reservedMemory?: number;
  /** Bytes of memory that pods may have, for what is kept from lower classes. */
  allocatableMemory?: number;
  /** Whether a pod has processors for itself: no quota is put on it. */
  exclusiveCpus?(podUid: string): boolean;
  /** For tests. Default: the systemd that runs. */
  slices?: Slices;
  log: Logger;
  clock: Clock;
}

const parents: Record<QosClass, CgroupSteps> = {
  Guaranteed: ['kubepods'],
  Burstable: ['kubepods', 'burstable'],
  BestEffort: ['kubepods', 'besteffort'],
};

/**
 * Keeps a cgroup for each pod: `<root>/kubepods[/burstable|/besteffort]/pod<uid>`, with shares, quota, memory and
 * process limits from its containers. @throws Error when the machine has no usable control groups
 */
export function createPodCgroups(options: PodCgroupsOptions): PodCgroups {
  const tree = openCgroups();
  if (options.perQos === false) return new FlatPodCgroups(cgroupNames(options.driver, options.cgroupRoot));
  const slices = options.driver === 'systemd' ? (options.slices ?? openSlices(options.clock)) : undefined;
  return new QosPodCgroups(tree, options, slices);
}

interface KnownPod {
  steps: CgroupSteps;
  qos: QosClass;
  requests: Amounts;
  /** The limits that it was given; undefined when a kubelet before us gave them. */
  given?: PodCgroupState;
}

class QosPodCgroups implements PodCgroups {
  readonly #tree: CgroupTree;
  readonly #options: PodCgroupsOptions;
  readonly #names: CgroupNames;
  readonly #slices: Slices | undefined;
  readonly #serial = new SerialRunner();
  readonly #pods = new Map<string, KnownPod>();
  /** The limits of the classes as last written. */
  readonly #shared = new Map<QosClass, string>();
  #root: Promise<void> | undefined;

  constructor(tree: CgroupTree, options: PodCgroupsOptions, slices: Slices | undefined) {
    this.#tree = tree;
    this.#options = options;
    this.#names = cgroupNames(options.driver, options.cgroupRoot);
    this.#slices = slices;
  }

  start(): Promise<void> {
    this.#root ??= this.#makeRoot().catch((error: unknown) => {
      this.#root = undefined;
      throw error;
    });
    return this.#root;
  }

  ensure(pod: Pod): Promise<string> {
    const { uid } = pod.metadata;
    return this.#serial.run(uid, async () => {
      await this.start();
      const qos = qosClass(pod);
      const steps = [...parents[qos], `pod${uid}`];
      let { given } = this.#pods.get(uid) ?? {};
      // What is there already has its limits: only a resize changes them, step by step.
      if (!this.#tree.exists(this.#names.path(steps))) {
        await this.#create(steps);
        await this.#apply(steps, this.#limitsOf(pod));
        given = this.limits(pod);
      }
      this.#pods.set(uid, { steps, qos, requests: podRequests(pod), ...(given ? { given } : {}) });
      await this.#shareClasses();
      return this.#names.parent(steps);
    });
  }

  limits(pod: Pod): PodCgroupState {
    const { cpuShares, cpuQuotaUs, cpuPeriodUs, memoryBytes } = this.#limitsOf(pod);
    return { cpuShares, cpuQuotaUs, cpuPeriodUs, memoryBytes };
  }

  current(pod: Pod): PodCgroupState | undefined {
    const path = this.#names.path(this.#stepsOf(pod));
    const details = this.#tree.details(path);
    const usage = this.#tree.usage(path);
    if (!details || !usage) return undefined;
    return {
      cpuShares: Number(details.cpuShares),
      cpuQuotaUs: details.cpuQuotaUs === undefined ? -1 : Number(details.cpuQuotaUs),
      cpuPeriodUs: Number(details.cpuPeriodUs),
      memoryBytes: usage.memoryLimitBytes === undefined ? -1 : Number(usage.memoryLimitBytes),
      memoryUsageBytes: Number(usage.memoryBytes),
    };
  }

  isOpen(pod: Pod): boolean {
    const given = this.#pods.get(pod.metadata.uid)?.given;
    if (!given) return false;
    const wanted = this.limits(pod);
    return (Object.keys(wanted) as (keyof PodCgroupState)[]).some((name) => wanted[name] !== given[name]);
  }

  async change(pod: Pod, limits: Partial<PodCgroupState>): Promise<void> {
    const steps = this.#stepsOf(pod);
    await this.#apply(steps, limits);
    const before = this.#pods.get(pod.metadata.uid)?.given;
    const given = before && { ...before, ...limits };
    const known: KnownPod = { steps, qos: qosClass(pod), requests: podRequests(pod), ...(given ? { given } : {}) };
    this.#pods.set(pod.metadata.uid, known);
    await this.#shareClasses();
  }

  remove(podUid: string): Promise<void> {
    return this.#serial.run(podUid, async () => {
      const known = this.#pods.get(podUid);
      const all = known ? [known.steps] : Object.values(parents).map((parent) => [...parent, `pod${podUid}`]);
      for (const steps of all) {
        const path = this.#names.path(steps);
        if (!this.#tree.exists(path)) continue;
        await this.#tree.kill(path, { clock: this.#options.clock });
        if (this.#slices) await this.#slices.stop(this.#names.parent(steps)).catch(() => {});
        await this.#tree.remove(path, { clock: this.#options.clock });
      }
      this.#pods.delete(podUid);
      if (known) await this.#shareClasses();
    });
  }

  async collect(known: ReadonlySet<string>): Promise<void> {
    for (const parent of Object.values(parents)) {
      const path = this.#names.path(parent);
      const directory = this.#tree.directory('pids', path) ?? this.#tree.directories(path)[0]!;
      for (const name of await readdir(directory).catch(() => [])) {
        const uid = this.#names.podUid(name);
        if (!uid || known.has(uid)) continue;
        await this.remove(uid).catch((error: unknown) =>
          this.#options.log.warn('cgroup of an unknown pod not removed', { podUid: uid, error }),
        );
      }
    }
  }

  async refresh(): Promise<void> {
    await this.start();
    this.#shared.clear();
    await this.#apply(parents.Guaranteed, this.#options.allPods);
    await this.#shareClasses();
  }

  #limitsOf(pod: Pod) {
    const { cpuQuota, exclusiveCpus } = this.#options;
    return podLimits(pod, { ...this.#options, cpuQuota: cpuQuota && !exclusiveCpus?.(pod.metadata.uid) });
  }

  #stepsOf(pod: Pod): CgroupSteps {
    return this.#pods.get(pod.metadata.uid)?.steps ?? [...parents[qosClass(pod)], `pod${pod.metadata.uid}`];
  }

  /** The cgroup of all pods is held to what is allocatable; besteffort pods get the least share. */
  async #makeRoot(): Promise<void> {
    for (const parent of Object.values(parents)) await this.#create(parent);
    await this.#apply(parents.Guaranteed, this.#options.allPods);
    await this.#shareClasses();
  }

  async #create(steps: CgroupSteps): Promise<void> {
    if (this.#slices) await this.#slices.start(this.#names.parent(steps));
    this.#tree.create(this.#names.path(steps));
  }

  async #apply(steps: CgroupSteps, limits: CgroupLimits): Promise<void> {
    if (this.#slices) await this.#slices.limit(this.#names.parent(steps), limits);
    this.#tree.apply(this.#names.path(steps), limits);
  }

  /** Burstable pods together weigh what they ask for together; memory may be kept from the lower classes. */
  async #shareClasses(): Promise<void> {
    const { reservedMemory, allocatableMemory } = this.#options;
    const limits = qosLimits([...this.#pods.values()], { reservedMemory, allocatableMemory });
    for (const qos of ['Burstable', 'BestEffort'] as const) {
      const text = JSON.stringify(limits[qos]);
      if (this.#shared.get(qos) === text) continue;
      try {
        await this.#apply(parents[qos], limits[qos]);
        this.#shared.set(qos, text);
      } catch (error) {
        // Memory that is in use already cannot be kept from anybody; the next turn may do better.
        this.#options.log.info('the cgroup of a class of pods keeps its limits', { class: qos, error });
      }
    }
  }
}

/** Without cgroups of their own pods' containers are in the root. */
class FlatPodCgroups implements PodCgroups {
  readonly #parent: string;

  constructor(names: CgroupNames) {
    this.#parent = names.parent([]);
  }
  async start(): Promise<void> {}
  async ensure(): Promise<string> {
    return this.#parent;
  }
  limits(): PodCgroupState {
    return { cpuShares: 2, cpuQuotaUs: -1, cpuPeriodUs: 100_000, memoryBytes: -1 };
  }
  current(): undefined {}
  isOpen(): boolean {
    return false;
  }
  async change(): Promise<void> {}
  async remove(): Promise<void> {}
  async collect(): Promise<void> {}
  async refresh(): Promise<void> {}
}

import { join } from 'node:path';
import { type Pod, quantityMilli, quantityValue } from '../../api/index.ts';
import { type Clock, SerialRunner } from '../../async/index.ts';
import { type CgroupLimits, type CgroupTree, openCgroups } from '../../host/cgroups/index.ts';
import type { Logger } from '../../log/index.ts';
import { cpuShares, type QosClass, qosClass } from '../pods/container-resources.ts';
import type { PodCgroups } from '../pods/ports.ts';

/** What the cgroups of pods need to know. */
export interface PodCgroupsOptions {
  /** Everything is below this cgroup: `/` or `/deckhand-x`. */
  cgroupRoot: string;
  /** How the runtime names cgroups (its RuntimeConfig). */
  driver: 'cgroupfs' | 'systemd';
  /** Enforce CPU limits. */
  cpuQuota: boolean;
  cpuQuotaPeriodUs: number;
  /** Most processes in a pod; negative means no limit. */
  podPidsLimit: number;
  /** Thousandths of a processor and bytes of memory that pods may have together. */
  allocatable: { cpuMilli: number; memoryBytes: number };
  log: Logger;
  clock: Clock;
}

/** cgroups below the root, as upstream's kubelet names them. */
const parents: Record<QosClass, string> = {
  Guaranteed: 'kubepods',
  Burstable: 'kubepods/burstable',
  BestEffort: 'kubepods/besteffort',
};

/**
 * Keeps a cgroup for each pod: `<root>/kubepods[/burstable|/besteffort]/pod<uid>`, with shares, quota, memory and
 * process limits from its containers. @throws Error when the machine has no usable control groups
 */
export function createPodCgroups(options: PodCgroupsOptions): PodCgroups {
  if (options.driver === 'systemd')
    throw new Error(
      'the runtime asks for the systemd cgroup driver, which needs systemd as process 1: set cgroupfs in the configuration of the runtime',
    );
  return new CgroupfsPodCgroups(openCgroups(), options);
}

class CgroupfsPodCgroups implements PodCgroups {
  readonly #tree: CgroupTree;
  readonly #options: PodCgroupsOptions;
  readonly #serial = new SerialRunner();
  /** Where each pod's cgroup is, and what it asks of the processors. */
  readonly #pods = new Map<string, { path: string; qos: QosClass; cpuMilli: number }>();
  #rootMade = false;

  constructor(tree: CgroupTree, options: PodCgroupsOptions) {
    this.#tree = tree;
    this.#options = options;
  }

  ensure(pod: Pod): Promise<string> {
    const { uid } = pod.metadata;
    return this.#serial.run(uid, () => {
      this.#makeRoot();
      const qos = qosClass(pod);
      const path = join(this.#options.cgroupRoot, parents[qos], `pod${uid}`);
      this.#tree.create(path);
      this.#tree.apply(path, podLimits(pod, this.#options));
      const cpuMilli = sumOfRequests(pod, 'cpu', quantityMilli);
      const before = this.#pods.get(uid);
      this.#pods.set(uid, { path, qos, cpuMilli });
      if (qos === 'Burstable' && before?.cpuMilli !== cpuMilli) this.#shareBurstable();
      return path;
    });
  }

  remove(podUid: string): Promise<void> {
    return this.#serial.run(podUid, async () => {
      const known = this.#pods.get(podUid);
      const paths = known
        ? [known.path]
        : Object.values(parents).map((parent) => join(this.#options.cgroupRoot, parent, `pod${podUid}`));
      for (const path of paths) {
        if (!this.#tree.exists(path)) continue;
        await this.#tree.kill(path, { clock: this.#options.clock });
        await this.#tree.remove(path, { clock: this.#options.clock });
      }
      this.#pods.delete(podUid);
      if (known?.qos === 'Burstable') this.#shareBurstable();
    });
  }

  async collect(known: ReadonlySet<string>): Promise<void> {
    const { readdir } = await import('node:fs/promises');
    for (const parent of Object.values(parents)) {
      const directory =
        this.#tree.directory('pids', join(this.#options.cgroupRoot, parent)) ??
        this.#tree.directories(join(this.#options.cgroupRoot, parent))[0]!;
      for (const name of await readdir(directory).catch(() => [])) {
        const uid = /^pod(.+)$/.exec(name)?.[1];
        if (uid && !known.has(uid))
          await this.remove(uid).catch((error: unknown) =>
            this.#options.log.warn('cgroup of an unknown pod not removed', { podUid: uid, error }),
          );
      }
    }
  }

  /** The cgroup of all pods is held to what is allocatable; besteffort pods get the least share. */
  #makeRoot(): void {
    if (this.#rootMade) return;
    const { cgroupRoot, allocatable } = this.#options;
    for (const parent of Object.values(parents)) this.#tree.create(join(cgroupRoot, parent));
    this.#tree.apply(join(cgroupRoot, 'kubepods'), {
      cpuShares: cpuShares(allocatable.cpuMilli),
      memoryBytes: allocatable.memoryBytes,
    });
    this.#tree.apply(join(cgroupRoot, parents.BestEffort), { cpuShares: 2 });
    this.#rootMade = true;
  }

  /** Burstable pods together weigh what they ask for together. */
  #shareBurstable(): void {
    const milli = [...this.#pods.values()]
      .filter(({ qos }) => qos === 'Burstable')
      .reduce((sum, { cpuMilli }) => sum + cpuMilli, 0);
    this.#tree.apply(join(this.#options.cgroupRoot, parents.Burstable), { cpuShares: cpuShares(milli) });
  }
}

/** The larger of what all containers and sidecars need together and what any init container needs alone. */
function sumOfRequests(pod: Pod, name: string, convert: (text: string) => number): number {
  const of = ({ resources }: { resources?: { requests?: Record<string, string>; limits?: Record<string, string> } }) =>
    convert(resources?.requests?.[name] ?? resources?.limits?.[name] ?? '0');
  return total(pod, of) + convert(pod.spec.overhead?.[name] ?? '0');
}

function total(pod: Pod, of: (container: Pod['spec']['containers'][number]) => number): number {
  let sidecars = 0;
  let largest = 0;
  for (const container of pod.spec.initContainers ?? []) {
    if (container.restartPolicy === 'Always') sidecars += of(container);
    else largest = Math.max(largest, sidecars + of(container));
  }
  return Math.max(largest, sidecars + pod.spec.containers.reduce((sum, container) => sum + of(container), 0));
}

/** Limits of the pod's cgroup; a resource that one container leaves open is open for the pod. */
export function podLimits(
  pod: Pod,
  options: Pick<PodCgroupsOptions, 'cpuQuota' | 'cpuQuotaPeriodUs' | 'podPidsLimit'>,
): CgroupLimits {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const limited = (name: string) => all.every(({ resources }) => resources?.limits?.[name] !== undefined);
  const limit = (name: string, convert: (text: string) => number) =>
    total(pod, ({ resources }) => convert(resources?.limits?.[name] ?? '0')) +
    convert(pod.spec.overhead?.[name] ?? '0');
  const qos = qosClass(pod);
  return {
    cpuShares: qos === 'BestEffort' ? 2 : cpuShares(sumOfRequests(pod, 'cpu', quantityMilli)),
    cpuPeriodUs: options.cpuQuotaPeriodUs,
    cpuQuotaUs:
      options.cpuQuota && limited('cpu')
        ? Math.max(1000, Math.ceil((limit('cpu', quantityMilli) * options.cpuQuotaPeriodUs) / 1000))
        : -1,
    memoryBytes: limited('memory') ? limit('memory', quantityValue) : -1,
    ...(options.podPidsLimit > 0 ? { pids: options.podPidsLimit } : {}),
  };
}

import type { Pod } from '../../api/index.ts';
import type { Clock, Timer } from '../../async/index.ts';
import type { VolumeStatistics } from '../pods/ports.ts';
import { measureUsage } from './measure-usage.ts';
import type { SetUpRequest, VolumePlugin } from './plugin.ts';
import { claimNameOf } from './resolve.ts';

/** A measurement may take at most this share of the time: a walk through a large tree is made more rarely. */
const largestShare = 0.05;

interface Followed {
  request: SetUpRequest;
  plugin: VolumePlugin;
  timer?: Timer;
  last?: VolumeStatistics;
}

/**
 * Measures volumes now and then, in the background and one after another; whoever asks gets the last result at once.
 */
export class VolumeMeter {
  readonly #clock: Clock;
  readonly #periodMs: number;
  readonly #followed = new Map<string, Followed>();
  #queue: Promise<void> = Promise.resolve();

  /** @param periodMs time between measurements of a volume; negative: never */
  constructor(clock: Clock, periodMs: number) {
    this.#clock = clock;
    this.#periodMs = periodMs;
  }

  follow(plugin: VolumePlugin, request: SetUpRequest): void {
    if (this.#periodMs < 0 || plugin.usage === 'none') return;
    const key = `${request.podUid}/${request.volume.volume.name}`;
    this.#followed.get(key)?.timer?.cancel();
    const followed: Followed = { plugin, request };
    this.#followed.set(key, followed);
    // Not in the way of a start, and not all at the same moment.
    this.#after(key, followed, Math.min(this.#periodMs, 2_000) * (0.5 + Math.random() / 2));
  }

  forget(podUid: string): void {
    for (const [key, { timer }] of this.#followed) {
      if (!key.startsWith(`${podUid}/`)) continue;
      timer?.cancel();
      this.#followed.delete(key);
    }
  }

  statistics(): VolumeStatistics[] {
    return [...this.#followed.values()].flatMap(({ last }) => last ?? []);
  }

  stop(): void {
    for (const { timer } of this.#followed.values()) timer?.cancel();
    this.#followed.clear();
  }

  #after(key: string, followed: Followed, ms: number): void {
    followed.timer = this.#clock.after(ms, () => {
      this.#queue = this.#queue.then(() => this.#measure(key, followed));
    });
  }

  async #measure(key: string, followed: Followed): Promise<void> {
    if (this.#followed.get(key) !== followed) return;
    const startedAt = this.#clock.monotonic();
    // A file system that does not answer must not hold up the others.
    const usage = await Promise.race([
      measureUsage(followed.plugin, followed.request).catch(() => undefined),
      this.#clock.sleep(10_000).then(() => undefined),
    ]);
    if (this.#followed.get(key) !== followed) return;
    if (usage) followed.last = statisticsOf(followed, usage, this.#clock.now());
    const tookMs = this.#clock.monotonic() - startedAt;
    this.#after(key, followed, Math.max(this.#periodMs, tookMs / largestShare));
  }
}

function statisticsOf({ request }: Followed, usage: VolumeStatistics['usage'], atMs: number): VolumeStatistics {
  const { pod, volume, podUid } = request;
  const claim = claimNameOf(pod, volume.volume);
  return {
    podUid,
    namespace: pod.metadata.namespace ?? '',
    pod: pod.metadata.name,
    volume: volume.volume.name,
    ...(claim === undefined ? {} : { claim }),
    onNodeDisk: isOnNodeDisk(pod, volume.volume.name),
    atMs,
    usage,
  };
}

/** Whether what is in the volume counts as the pod's use of the node's own disk (ephemeral-storage). */
function isOnNodeDisk({ spec }: Pod, name: string): boolean {
  const volume = spec.volumes?.find((one) => one.name === name);
  return Boolean(volume?.configMap ?? (volume?.emptyDir && !volume.emptyDir.medium));
}

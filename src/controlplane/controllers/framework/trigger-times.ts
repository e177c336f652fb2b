import type { Pod, Service } from '../../../api/index.ts';
import { apiTime, timeMs } from './controller.ts';
import { podCondition } from './pods.ts';

/**
 * Remembers, per Service, when the pods and the Service last changed, so that an endpoints object can say what its
 * change answers to (`endpoints.kubernetes.io/last-change-trigger-time`).
 */
export class TriggerTimes {
  readonly #services = new Map<string, { service: number; pods: Map<string, number> }>();

  /** The earliest change that this look at the Service is the first to see; undefined when it sees none. */
  observe(key: string, service: Service, pods: readonly Pod[]): string | undefined {
    const before = this.#services.get(key);
    const serviceTime = timeMs(service.metadata.creationTimestamp);
    const now = new Map<string, number>();
    let earliest = before ? Number.POSITIVE_INFINITY : serviceTime || Number.POSITIVE_INFINITY;
    for (const pod of pods) {
      const time = Math.max(
        timeMs(podCondition(pod, 'Ready')?.lastTransitionTime),
        timeMs(pod.metadata.deletionTimestamp),
      );
      now.set(pod.metadata.uid, time);
      if (time > 0 && before?.pods.get(pod.metadata.uid) !== time && before) earliest = Math.min(earliest, time);
    }
    this.#services.set(key, { service: serviceTime, pods: now });
    return Number.isFinite(earliest) ? apiTime(earliest) : undefined;
  }
  forget(key: string): void {
    this.#services.delete(key);
  }
}

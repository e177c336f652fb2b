import type { Pod } from '../../api/index.ts';
import type { PodKit } from './kit.ts';
import { formatPod } from './names.ts';
import type { PodFailure } from './pod-record.ts';

/** Ends pods so that a critical one has room; resolves when they have ended. `resource` is what was short. */
export function endInFavour(
  { events, log, metrics }: Pick<PodKit, 'events' | 'log' | 'metrics'>,
  end: (podUid: string, failure: PodFailure) => Promise<void>,
  critical: Pod,
  victims: readonly Pod[],
  resource: string,
): Promise<unknown> {
  const message = 'Preempted in order to admit critical pod';
  const disruption = 'Pod was preempted by Kubelet to accommodate a critical pod.';
  return Promise.all(
    victims.map((victim) => {
      events.warning(victim, 'Preempting', message);
      metrics.count('kubelet_preemptions', { preemption_signal: resource });
      const pods = { pod: formatPod(victim), critical: formatPod(critical) };
      log.info('ending a pod in favour of a critical one', { ...pods, resource });
      return end(victim.metadata.uid, { reason: 'Preempting', message, disruption });
    }),
  );
}

import type { Pod } from '../../api/index.ts';

/** How long pods from a priority on have when the node is shut down. */
export interface ShutdownPeriod {
  priority: number;
  seconds: number;
}

/** Pods that end together. */
export interface ShutdownGroup extends ShutdownPeriod {
  pods: { pod: Pod; graceSeconds: number }[];
}

/** The priority from which on pods are critical. */
const criticalPriority = 2_000_000_000;

/** The periods of a configuration, lowest priority first; none when shutdowns are not waited for. */
export function shutdownPeriods(
  byPriority: readonly { priority: number; shutdownGracePeriodSeconds: number }[],
  allMs: number,
  criticalMs: number,
): ShutdownPeriod[] {
  const periods =
    byPriority.length > 0
      ? byPriority.map(({ priority, shutdownGracePeriodSeconds }) => ({
          priority,
          seconds: shutdownGracePeriodSeconds,
        }))
      : allMs > 0
        ? [
            { priority: 0, seconds: Math.floor((allMs - criticalMs) / 1000) },
            { priority: criticalPriority, seconds: Math.floor(criticalMs / 1000) },
          ]
        : [];
  return periods.sort((a, b) => a.priority - b.priority);
}

/**
 * Which pods end together, in which order, and how long each has. Pure. A pod belongs to the highest period that is not
 * above its priority (those below all of them to the lowest), and has its own grace period if that is shorter.
 */
export function planShutdown(periods: readonly ShutdownPeriod[], pods: readonly Pod[]): ShutdownGroup[] {
  const groups: ShutdownGroup[] = periods.map((period) => ({ ...period, pods: [] }));
  for (const pod of pods) {
    const priority = pod.spec.priority ?? 0;
    const group = groups.findLast((one) => one.priority <= priority) ?? groups[0];
    if (!group) continue;
    const own = pod.spec.terminationGracePeriodSeconds ?? group.seconds;
    group.pods.push({ pod, graceSeconds: Math.min(own, group.seconds) });
  }
  return groups.filter((group) => group.pods.length > 0);
}

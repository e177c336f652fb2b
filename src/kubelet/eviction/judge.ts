import type { NodePressure } from '../pods/ports.ts';
import type { Observations } from './observations.ts';
import { amountIn, type Signal, type Threshold } from './thresholds.ts';

/** What is remembered from one look at the node to the next. Times are on the monotonic clock, milliseconds. */
export interface EvictionMemory {
  /** Since when each threshold has been crossed. */
  crossedAt: ReadonlyMap<Threshold, number>;
  /** Thresholds that drove evictions last time: they hold until as much is free again as the configuration wants. */
  due: readonly Threshold[];
  /** When each pressure was last seen. */
  pressedAt: ReadonlyMap<NodePressure, number>;
}

/** Nothing is remembered. */
export const noMemory: EvictionMemory = { crossedAt: new Map(), due: [], pressedAt: new Map() };

/** The pressure that a signal means. */
export const pressureOf: Record<Signal, NodePressure> = {
  'memory.available': 'MemoryPressure',
  'allocatableMemory.available': 'MemoryPressure',
  'nodefs.available': 'DiskPressure',
  'nodefs.inodesFree': 'DiskPressure',
  'imagefs.available': 'DiskPressure',
  'imagefs.inodesFree': 'DiskPressure',
  'containerfs.available': 'DiskPressure',
  'containerfs.inodesFree': 'DiskPressure',
  'pid.available': 'PIDPressure',
};

/** The thresholds that are crossed; with `reclaim`, also those beyond which not yet enough is free. */
export function crossed(
  thresholds: readonly Threshold[],
  observations: Observations,
  { reclaim = false } = {},
): Threshold[] {
  return thresholds.filter(({ signal, value, minimumReclaim }) => {
    const seen = observations[signal];
    if (!seen) return false;
    const more = reclaim && minimumReclaim ? amountIn(minimumReclaim, seen.capacity) : 0;
    return seen.available < amountIn(value, seen.capacity) + more;
  });
}

/**
 * Judges what was seen: which thresholds are crossed, which of them for long enough to act on, and what the node's
 * conditions say (they hold for a while, so that they do not flap). Pure.
 */
export function judge(
  thresholds: readonly Threshold[],
  observations: Observations,
  memory: EvictionMemory,
  { now, transitionMs }: { now: number; transitionMs: number },
): { memory: EvictionMemory; pressures: Set<NodePressure> } {
  const open = new Set([...crossed(thresholds, observations), ...crossed(memory.due, observations, { reclaim: true })]);
  const crossedAt = new Map([...open].map((threshold) => [threshold, memory.crossedAt.get(threshold) ?? now]));
  const pressedAt = new Map(memory.pressedAt);
  for (const { signal } of open) pressedAt.set(pressureOf[signal], now);
  const pressures = new Set<NodePressure>();
  for (const [pressure, at] of pressedAt) {
    if (at === now || now - at < transitionMs) pressures.add(pressure);
    else pressedAt.delete(pressure);
  }
  const due = [...crossedAt].filter(([{ graceMs }, at]) => now - at >= graceMs).map(([threshold]) => threshold);
  return { memory: { crossedAt, due, pressedAt }, pressures };
}

/** The threshold to act on first: memory before all others. */
export function mostUrgent(due: readonly Threshold[]): Threshold | undefined {
  return due.find(({ signal }) => pressureOf[signal] === 'MemoryPressure') ?? due[0];
}

/** The resource that a signal is about, as messages name it. */
export function resourceOf(signal: Signal): 'memory' | 'ephemeral-storage' | 'inodes' | 'pids' {
  if (pressureOf[signal] === 'MemoryPressure') return 'memory';
  if (signal === 'pid.available') return 'pids';
  return signal.endsWith('.inodesFree') ? 'inodes' : 'ephemeral-storage';
}

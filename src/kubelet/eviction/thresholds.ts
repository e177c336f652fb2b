import { quantityValue } from '../../api/index.ts';
import { parseDuration } from '../config/duration.ts';

/** What can run short on a node. */
export const signals = [
  'memory.available',
  'allocatableMemory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'containerfs.available',
  'containerfs.inodesFree',
  'pid.available',
] as const;

/** One of them, by upstream's name. */
export type Signal = (typeof signals)[number];

/** An amount, or a part (0 to 1) of what there is. */
export type Amount = { quantity: number } | { part: number };

/** From where on a signal is too low. */
export interface Threshold {
  signal: Signal;
  value: Amount;
  /** How long it must have been too low, milliseconds; 0 for a hard threshold. */
  graceMs: number;
  /** How much beyond the threshold must be free again. */
  minimumReclaim?: Amount;
}

/** The fields of a configuration about eviction. */
export interface EvictionFields {
  evictionHard?: Record<string, string>;
  evictionSoft?: Record<string, string>;
  evictionSoftGracePeriod?: Record<string, string>;
  evictionMinimumReclaim?: Record<string, string>;
  mergeDefaultEvictionSettings?: boolean;
  enforceNodeAllocatable: readonly string[];
}

/** The hard thresholds of a configuration that names none. */
export const defaultHardThresholds: Readonly<Record<string, string>> = {
  'memory.available': '100Mi',
  'nodefs.available': '10%',
  'nodefs.inodesFree': '5%',
  'imagefs.available': '15%',
  'imagefs.inodesFree': '5%',
};

/** A field that cannot be used. */
export class ThresholdError extends Error {
  readonly field: string;
  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}

/** The hard thresholds as they are to be: given, or the defaults, or (merged) those of the defaults that are not given. */
export function hardThresholds(fields: Pick<EvictionFields, 'evictionHard' | 'mergeDefaultEvictionSettings'>) {
  const { evictionHard, mergeDefaultEvictionSettings } = fields;
  if (!evictionHard || Object.keys(evictionHard).length === 0) return { ...defaultHardThresholds };
  return mergeDefaultEvictionSettings ? { ...defaultHardThresholds, ...evictionHard } : evictionHard;
}

/** Every threshold of a configuration. @throws ThresholdError naming the field */
export function readThresholds(fields: EvictionFields): Threshold[] {
  const { evictionSoft = {}, evictionSoftGracePeriod = {}, evictionMinimumReclaim = {} } = fields;
  const reclaim = new Map(
    Object.entries(evictionMinimumReclaim).map(([name, text]) => {
      const field = `evictionMinimumReclaim.${name}`;
      return [signalOf(name, field), amountOf(String(text), field, true)!];
    }),
  );
  const make = (field: string, name: string, text: string, graceMs: number): Threshold[] => {
    const signal = signalOf(name, field);
    const value = amountOf(String(text), field, false);
    const minimumReclaim = reclaim.get(signal);
    return value ? [{ signal, value, graceMs, ...(minimumReclaim ? { minimumReclaim } : {}) }] : [];
  };
  for (const name of Object.keys(evictionSoftGracePeriod)) signalOf(name, `evictionSoftGracePeriod.${name}`);
  const hard = Object.entries(hardThresholds(fields)).flatMap(([name, text]) =>
    make(`evictionHard.${name}`, name, text, 0),
  );
  const soft = Object.entries(evictionSoft).flatMap(([name, text]) => {
    const grace = evictionSoftGracePeriod[name];
    const field = `evictionSoftGracePeriod.${name}`;
    if (grace === undefined) throw new ThresholdError(field, `must be set, because evictionSoft.${name} is`);
    const graceMs = parseDuration(String(grace));
    if (graceMs === undefined || graceMs < 0) throw new ThresholdError(field, `must be a duration, not "${grace}"`);
    return make(`evictionSoft.${name}`, name, text, graceMs);
  });
  return [...hard, ...soft, ...allocatableThreshold(hard, fields)];
}

/** Where pods are held to what is allocatable, their cgroup runs out of memory as the node does. */
function allocatableThreshold(hard: readonly Threshold[], { enforceNodeAllocatable }: EvictionFields): Threshold[] {
  if (!enforceNodeAllocatable.includes('pods')) return [];
  const memory = hard.find(({ signal }) => signal === 'memory.available');
  const given = hard.some(({ signal }) => signal === 'allocatableMemory.available');
  return memory && !given ? [{ ...memory, signal: 'allocatableMemory.available' }] : [];
}

function signalOf(name: string, field: string): Signal {
  if (!signals.includes(name as Signal)) throw new ThresholdError(field, `must be one of ${signals.join(', ')}`);
  return name as Signal;
}

/** Undefined for 0% and 100%, which switch a threshold off. */
function amountOf(text: string, field: string, zeroIsFine: boolean): Amount | undefined {
  if (text.endsWith('%')) {
    if (!zeroIsFine && (text === '0%' || text === '100%')) return undefined;
    const percent = /^\d+(\.\d+)?%$/.test(text) ? Number(text.slice(0, -1)) : Number.NaN;
    if (!(percent >= 0 && percent <= 100)) throw new ThresholdError(field, `must be between 0% and 100%, not ${text}`);
    return { part: percent / 100 };
  }
  let quantity: number;
  try {
    quantity = quantityValue(text);
  } catch (error) {
    throw new ThresholdError(field, (error as Error).message);
  }
  if (quantity < 0 || (quantity === 0 && !zeroIsFine)) throw new ThresholdError(field, `must be positive, not ${text}`);
  return { quantity };
}

/** An amount of something of which there is `capacity`. */
export function amountIn(amount: Amount, capacity: number): number {
  return 'quantity' in amount ? amount.quantity : Math.floor(capacity * amount.part);
}

/** What the hard thresholds keep from pods, of memory and of disk, bytes. */
export function hardEvictionReservation(
  fields: Pick<EvictionFields, 'evictionHard' | 'mergeDefaultEvictionSettings'>,
  capacity: { memoryBytes: number; diskBytes: number },
): { memoryBytes: number; storageBytes: number } {
  const { evictionHard = {}, mergeDefaultEvictionSettings = false } = fields;
  // The soft ones keep nothing.
  const hard = { evictionHard, mergeDefaultEvictionSettings, enforceNodeAllocatable: [] };
  const thresholds = readThresholds(hard);
  const kept = (signal: Signal, of: number) => {
    const found = thresholds.find((one) => one.signal === signal);
    return found ? amountIn(found.value, of) : 0;
  };
  return {
    memoryBytes: kept('memory.available', capacity.memoryBytes),
    storageBytes: kept('nodefs.available', capacity.diskBytes),
  };
}

/**
 * Writable layers are on the disk of the images or on that of the kubelet: unless the configuration says something of
 * them, what holds for that disk holds for them.
 */
export function withContainerThresholds(
  thresholds: readonly Threshold[],
  { dedicatedImages, split }: { dedicatedImages: boolean; split: boolean },
): Threshold[] {
  const like = dedicatedImages && !split ? 'imagefs' : 'nodefs';
  const derived = (['available', 'inodesFree'] as const).flatMap((kind) => {
    const signal: Signal = `containerfs.${kind}`;
    if (thresholds.some((one) => one.signal === signal)) return [];
    return thresholds.filter((one) => one.signal === `${like}.${kind}`).map((one) => ({ ...one, signal }));
  });
  return [...thresholds, ...derived];
}

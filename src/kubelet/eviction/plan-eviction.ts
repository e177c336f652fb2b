import { formatBytes, type Pod, quantityValue } from '../../api/index.ts';
import { isCritical } from '../pods/container-resources.ts';
import { podLimitTotals, podRequests } from '../resources/pod-requests.ts';
import { pressureOf, resourceOf } from './judge.ts';
import { type DiskLayout, type Observations, type PodFigures, partsOn, storageOf } from './observations.ts';
import { amountIn, type Signal, type Threshold } from './thresholds.ts';

/** One thing to do so that the node has room. Executors are in the eviction manager. */
export type EvictionStep =
  /** Frees what no pod uses, and looks whether that was enough. */
  | { kind: 'reclaim'; containers: boolean; images: boolean }
  | {
      kind: 'evict';
      pod: Pod;
      message: string;
      graceSeconds: number;
      /** What metrics count it as. */
      signal: string;
      /** The pod did nothing wrong: its condition DisruptionTarget says so. */
      disruption: boolean;
      annotations: Record<string, string>;
    };

/** What is known of the pods that may be evicted. */
export interface EvictionInput {
  /** Pods that run and are not ending. */
  pods: readonly Pod[];
  figures(podUid: string): PodFigures | undefined;
  layout: DiskLayout;
}

/** Grace period of pods that are evicted at once, seconds. */
const immediately = 1;

/** Evicts pods that use more local storage than they may: of a volume, of a container, all together. Pure. */
export function planStorageLimits({ pods, figures, layout }: EvictionInput): EvictionStep[] {
  return pods.flatMap((pod) => {
    const used = isCritical(pod) ? undefined : figures(pod.metadata.uid);
    const excess = used && (overVolume(pod, used) ?? overPod(pod, used) ?? overContainer(pod, used, layout));
    if (!excess) return [];
    const { signal, message } = excess;
    return [
      { kind: 'evict' as const, pod, message, signal, graceSeconds: immediately, disruption: false, annotations: {} },
    ];
  });
}

type Excess = { signal: string; message: string };

function overVolume({ spec }: Pod, { volumes }: PodFigures): Excess | undefined {
  for (const { name, emptyDir } of spec.volumes ?? []) {
    const limit = emptyDir?.sizeLimit;
    const used = volumes.find((one) => one.name === name);
    if (limit === undefined || !used || quantityValue(limit) <= 0 || used.bytes <= quantityValue(limit)) continue;
    return { signal: 'emptydirfs.limit', message: `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". ` };
  }
  return undefined;
}

function overPod(pod: Pod, used: PodFigures): Excess | undefined {
  const limit = podLimitTotals(pod).get('ephemeral-storage');
  if (limit === undefined) return undefined;
  const bytes = storageOf(used, ['layers', 'logs', 'volumes']).bytes;
  if (bytes * 1000 <= limit) return undefined;
  const text = formatBytes(limit / 1000);
  const message = `Pod ephemeral local storage usage exceeds the total limit of containers ${text}. `;
  return { signal: 'ephemeralpodfs.limit', message };
}

function overContainer({ spec }: Pod, used: PodFigures, { dedicatedImages }: DiskLayout): Excess | undefined {
  for (const { name, resources } of spec.containers) {
    const limit = resources?.limits?.['ephemeral-storage'];
    const own = used.containers.find((one) => one.name === name);
    if (limit === undefined || !own || quantityValue(limit) === 0) continue;
    const bytes = own.logs.bytes + (dedicatedImages ? 0 : own.layer.bytes);
    if (bytes <= quantityValue(limit)) continue;
    const message = `Container ${name} exceeded its local ephemeral storage limit "${limit}". `;
    return { signal: 'ephemeralcontainerfs.limit', message };
  }
  return undefined;
}

/** What can be freed without ending pods when a signal is low; undefined when nothing can. */
export function planReclaim(signal: Signal, { dedicatedImages, split }: DiskLayout): EvictionStep | undefined {
  if (pressureOf[signal] !== 'DiskPressure') return undefined;
  if (!dedicatedImages) return { kind: 'reclaim', containers: true, images: true };
  const isImages = signal.startsWith('imagefs.');
  if (split) return { kind: 'reclaim', containers: !isImages, images: isImages };
  return signal.startsWith('nodefs.') ? undefined : { kind: 'reclaim', containers: true, images: true };
}

/**
 * The pod to end for a threshold: one that uses more than it asked for before others, of less priority before others, and
 * then the one that is farthest over. Critical pods stay. Pure.
 */
export function planVictim(
  threshold: Threshold,
  due: readonly Threshold[],
  observations: Observations,
  input: EvictionInput & { maximumGraceSeconds: number },
): EvictionStep | undefined {
  const { signal, graceMs } = threshold;
  const pod = rankPods(signal, input).find((one) => !isCritical(one));
  if (!pod) return undefined;
  const own = pod.spec.terminationGracePeriodSeconds;
  const soft = Math.min(input.maximumGraceSeconds, own ?? input.maximumGraceSeconds);
  const { message, annotations } = describe(pod, signal, due, observations, input.figures(pod.metadata.uid));
  return {
    kind: 'evict',
    ...{ pod, message, annotations, signal },
    graceSeconds: graceMs === 0 ? immediately : soft,
    disruption: true,
  };
}

/** The pods in the order in which they are to be ended. */
export function rankPods(signal: Signal, { pods, figures, layout }: EvictionInput): Pod[] {
  const resource = resourceOf(signal);
  const parts = partsOn(signal, layout);
  const usage = (pod: Pod): number | undefined => {
    const used = figures(pod.metadata.uid);
    if (!used) return undefined;
    if (resource === 'memory') return used.memoryBytes;
    if (resource === 'pids') return used.processes;
    return storageOf(used, parts)[resource === 'inodes' ? 'inodes' : 'bytes'];
  };
  const ranked = pods.map((pod) => {
    const used = usage(pod);
    const asked = resource === 'pids' || resource === 'inodes' ? 0 : (podRequests(pod).get(resource) ?? 0) / 1000;
    // Of processes nobody can ask for some: priority comes first.
    const exceeds = resource !== 'pids' && (used === undefined || used > asked);
    return {
      pod,
      exceeds,
      priority: pod.spec.priority ?? 0,
      over: used === undefined ? Number.POSITIVE_INFINITY : used - asked,
    };
  });
  ranked.sort(
    (a, b) =>
      Number(b.exceeds) - Number(a.exceeds) || a.priority - b.priority || (a.over === b.over ? 0 : b.over - a.over),
  );
  return ranked.map(({ pod }) => pod);
}

/** Why the pod was evicted, in upstream's words. */
function describe(
  pod: Pod,
  signal: Signal,
  due: readonly Threshold[],
  observations: Observations,
  used: PodFigures | undefined,
): { message: string; annotations: Record<string, string> } {
  const resource = resourceOf(signal);
  const show = (value: number) => (resource === 'pids' || resource === 'inodes' ? String(value) : formatBytes(value));
  let message = `The node was low on resource: ${resource}. `;
  const met = due.find((one) => resourceOf(one.signal) === resource);
  const seen = met && observations[met.signal];
  if (seen) {
    const quantity = amountIn(met.value, seen.capacity);
    message += `Threshold quantity: ${show(quantity)}, available: ${show(seen.available)}. `;
  }
  const annotations: Record<string, string> = {};
  const whole = pod.spec.resources?.requests?.[resource];
  if (resource === 'memory' && whole !== undefined && used?.memoryBytes !== undefined) {
    const text = show(used.memoryBytes);
    message += `Pod ${pod.metadata.name} was using ${text}, request is ${whole}, has larger consumption of ${resource}. `;
    annotations['offending_pod'] = pod.metadata.name;
    annotations['offending_pod_usage'] = text;
  }
  const offending = (used?.containers ?? []).flatMap(({ name, memoryBytes, layer, logs }) => {
    const container = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((one) => one.name === name);
    if (!container || (resource !== 'memory' && resource !== 'ephemeral-storage')) return [];
    const request = container.resources?.requests?.[resource] ?? '0';
    const bytes = resource === 'memory' ? memoryBytes : layer.bytes + logs.bytes;
    if (bytes <= quantityValue(request)) return [];
    message += `Container ${name} was using ${show(bytes)}, request is ${request}, has larger consumption of ${resource}. `;
    return [{ name, usage: show(bytes) }];
  });
  annotations['offending_containers'] = offending.map(({ name }) => name).join(',');
  annotations['offending_containers_usage'] = offending.map(({ usage }) => usage).join(',');
  annotations['starved_resource'] = resource;
  return { message, annotations };
}

import { createHash } from 'node:crypto';
import type { Pod, PodCondition, PodTemplateSpec } from '../../../api/index.ts';
import { timeMs } from './controller.ts';

/** The condition of a type, if the pod has it. */
export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

/** Whether the kubelet says that the pod is ready. */
export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True';
}

/** Whether the pod has run its course. */
export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** Whether the pod counts for its controller: not finished, not being deleted. */
export function isPodActive(pod: Pod): boolean {
  return !isPodFinished(pod) && !pod.metadata.deletionTimestamp;
}

/** Milliseconds until a ready pod has been ready for `minReadySeconds`: 0 when available, undefined when not ready. */
export function untilAvailable(pod: Pod, minReadySeconds: number, now: number): number | undefined {
  const ready = podCondition(pod, 'Ready');
  if (ready?.status !== 'True') return undefined;
  if (minReadySeconds === 0) return 0;
  const since = timeMs(ready.lastTransitionTime);
  return Math.max(0, since + minReadySeconds * 1000 - now);
}

/** Whether a pod is available at `now`. */
export function isPodAvailable(pod: Pod, minReadySeconds: number, now: number): boolean {
  return untilAvailable(pod, minReadySeconds, now) === 0;
}

/** Names without letters that form words. */
const nameLetters = 'bcdfghjklmnpqrstvwxz2456789';

/** Text as digits and letters that are safe in a name. */
export function safeEncode(text: string): string {
  return [...text].map((letter) => nameLetters[letter.charCodeAt(0) % nameLetters.length]).join('');
}

/** A short hash of any JSON value (keys in any order), fit for a name or a label. */
export function shortHash(value: unknown, salt?: number): string {
  const digest = createHash('sha256')
    .update(canonicalJson(value))
    .update(salt === undefined ? '' : `#${salt}`)
    .digest();
  return safeEncode(String(digest.readUInt32BE(0)));
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** What a pod made from a template starts with; the caller adds name and owner. */
export function podFromTemplate(template: PodTemplateSpec) {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  return {
    metadata: {
      labels: { ...labels },
      ...(annotations ? { annotations: { ...annotations } } : {}),
      ...(finalizers ? { finalizers: [...finalizers] } : {}),
    },
    spec: structuredClone(template.spec!),
  };
}

/** A count or a percentage of `total`. */
export function scaledValue(value: string | number | undefined, total: number, roundUp: boolean): number {
  if (value === undefined) return 0;
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(value);
  if (!percent) return Number(value) || 0;
  const exact = (Number(percent[1]) * total) / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

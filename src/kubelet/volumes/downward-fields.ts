import {
  type Container,
  type Node,
  type ObjectFieldSelector,
  type Pod,
  quantityMilli,
  quantityValue,
  type ResourceFieldSelector,
} from '../../api/index.ts';
import { VolumeError } from './volume-error.ts';

/** A map as the downward API writes it: `key="value"` lines, sorted. */
function formatMap(map: Record<string, string> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}

/** The value of a fieldRef in a volume (the fields that upstream allows there). @throws VolumeError for another field */
export function volumeFieldValue(pod: Pod, { fieldPath }: ObjectFieldSelector): string {
  const { metadata } = pod;
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(fieldPath);
  if (keyed) return metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? '';
  const values: Record<string, () => string> = {
    'metadata.name': () => metadata.name,
    'metadata.namespace': () => metadata.namespace ?? '',
    'metadata.uid': () => metadata.uid,
    'metadata.labels': () => formatMap(metadata.labels),
    'metadata.annotations': () => formatMap(metadata.annotations),
  };
  const value = values[fieldPath];
  if (!value) throw new VolumeError('INVALID', `unsupported fieldPath: ${fieldPath}`);
  return value();
}

/** The value of a resourceFieldRef: a whole number of divisors, rounded up; missing limits are the node's allocatable. */
export function resourceFieldValue(
  pod: Pod,
  selector: ResourceFieldSelector,
  node: Node | undefined,
  own?: Container,
): string {
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const container = selector.containerName ? containers.find(({ name }) => name === selector.containerName) : own;
  if (!container) throw new VolumeError('INVALID', `container ${selector.containerName ?? ''} not found`);
  const match = /^(limits|requests)\.(.+)$/.exec(selector.resource);
  if (!match) throw new VolumeError('INVALID', `unsupported container resource: ${selector.resource}`);
  const [, kind, name] = match as unknown as [string, 'limits' | 'requests', string];
  const own_ = container.resources?.[kind]?.[name];
  const fallback = kind === 'limits' ? node?.status?.allocatable?.[name] : container.resources?.limits?.[name];
  const value = own_ ?? fallback ?? '0';
  const divisor = selector.divisor && selector.divisor !== '0' ? selector.divisor : '1';
  const scale = name === 'cpu' ? quantityMilli : quantityValue;
  return String(Math.ceil(scale(value) / scale(divisor)));
}

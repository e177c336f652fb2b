import { UsageError } from '../flags.ts';

/** Labels of Kubernetes' own that a node may give itself, and name spaces in which it may. */
const ownLabels = new Set([
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/instance-type',
  'beta.kubernetes.io/os',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'kubernetes.io/arch',
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'node.kubernetes.io/instance-type',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
]);
const ownSpaces = ['kubelet.kubernetes.io', 'node.kubernetes.io'];

const isWithin = (space: string, domain: string): boolean => space === domain || space.endsWith(`.${domain}`);

/** Reads --node-labels. @throws UsageError naming the label that cannot be given */
export function readNodeLabels(texts: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const pair of texts.flatMap((text) => text.split(',')).map((one) => one.trim())) {
    if (pair === '') continue;
    const parts = pair.split('=');
    const [key = '', value = ''] = parts;
    if (parts.length !== 2) throw new UsageError(`--node-labels: ${pair} is not KEY=VALUE`);
    if (!/^(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/.test(key))
      throw new UsageError(`--node-labels: ${key} is no name of a label`);
    if (!/^(?:[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$/.test(value))
      throw new UsageError(`--node-labels: ${value} is no value of a label`);
    const space = key.includes('/') ? key.split('/')[0]! : '';
    const isReserved = isWithin(space, 'kubernetes.io') || isWithin(space, 'k8s.io');
    if (isReserved && !ownLabels.has(key) && !ownSpaces.some((one) => isWithin(space, one)))
      throw new UsageError(
        `--node-labels: ${key}: of the labels of kubernetes.io and k8s.io a node may give itself those of ${ownSpaces.join(' and ')}, and ${[...ownLabels].join(', ')}`,
      );
    labels[key] = value;
  }
  return labels;
}

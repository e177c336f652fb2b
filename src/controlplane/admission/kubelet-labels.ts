/** Labels of Kubernetes' own that a kubelet may give its node. */
const known: ReadonlySet<string> = new Set([
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

const isWithin = (key: string, domain: string): boolean => {
  const space = key.includes('/') ? key.split('/')[0]! : '';
  return space === domain || space.endsWith(`.${domain}`);
};

/** Whether a label is of kubernetes.io or k8s.io. */
export function isKubernetesLabel(key: string): boolean {
  return isWithin(key, 'kubernetes.io') || isWithin(key, 'k8s.io');
}

/** Whether a kubelet may set a label of Kubernetes' own. */
export function isKubeletLabel(key: string): boolean {
  return known.has(key) || isWithin(key, 'kubelet.kubernetes.io') || isWithin(key, 'node.kubernetes.io');
}

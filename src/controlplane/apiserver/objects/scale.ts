import { formatLabelSelector } from '../../../api/index.ts';
import { invalid } from '../status-error.ts';

/** The Scale of a workload. */
export function scaleOf(object: any): any {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = object.spec?.selector;
  // A replication controller selects by a plain map.
  const text = selector && (selector.matchLabels || selector.matchExpressions ? selector : { matchLabels: selector });
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: object.spec?.replicas ?? 0 },
    status: {
      replicas: object.status?.replicas ?? 0,
      ...(text ? { selector: formatLabelSelector(text) } : {}),
    },
  };
}

/** The workload with the replicas of a Scale. @throws StatusError 422 */
export function withScale(object: any, scale: any): any {
  const replicas = scale.spec?.replicas ?? 0;
  if (!Number.isInteger(replicas) || replicas < 0) {
    throw invalid('autoscaling', 'Scale', object.metadata.name, [
      {
        field: 'spec.replicas',
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
      },
    ]);
  }
  const metadata = { ...object.metadata };
  metadata.resourceVersion = scale.metadata?.resourceVersion;
  if (scale.metadata?.uid) metadata.uid = scale.metadata.uid;
  return { ...object, metadata, spec: { ...object.spec, replicas } };
}

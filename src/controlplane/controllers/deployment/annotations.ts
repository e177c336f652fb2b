import type { Deployment, PodTemplateSpec, ReplicaSet } from '../../../api/index.ts';
import { sameJson } from '../framework/controller.ts';

export const revisionAnnotation = 'deployment.kubernetes.io/revision';
export const revisionHistoryAnnotation = 'deployment.kubernetes.io/revision-history';
export const desiredAnnotation = 'deployment.kubernetes.io/desired-replicas';
export const maximumAnnotation = 'deployment.kubernetes.io/max-replicas';
export const hashLabel = 'pod-template-hash';

/** Annotations that a Deployment does not hand on to its ReplicaSets. */
const kept = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredAnnotation,
  maximumAnnotation,
  'deprecated.deployment.rollback.to',
]);

/** The revision of a ReplicaSet; 0 without one. */
export function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[revisionAnnotation] ?? 0) || 0;
}

/** Whether two templates make the same pods: the hash label does not count. */
export function sameTemplate(a: PodTemplateSpec | undefined, b: PodTemplateSpec | undefined): boolean {
  return sameJson(withoutHash(a), withoutHash(b));
}

function withoutHash(template: PodTemplateSpec | undefined): unknown {
  const { [hashLabel]: _hash, ...labels } = template?.metadata?.labels ?? {};
  const { creationTimestamp: _created, annotations = {}, ...metadata } = template?.metadata ?? {};
  return { ...template, metadata: { ...metadata, annotations, labels } };
}

/** The annotations that a Deployment's newest ReplicaSet should have. */
export function newSetAnnotations(
  deployment: Deployment,
  set: ReplicaSet | undefined,
  revision: number,
  maximum: number,
): Record<string, string> {
  const annotations: Record<string, string> = { ...set?.metadata.annotations };
  for (const [name, value] of Object.entries(deployment.metadata.annotations ?? {})) {
    if (!kept.has(name)) annotations[name] = value;
  }
  const before = set ? revisionOf(set) : 0;
  if (before < revision) {
    annotations[revisionAnnotation] = String(revision);
    if (before > 0) {
      const history = (annotations[revisionHistoryAnnotation] ?? '').split(',').filter(Boolean);
      annotations[revisionHistoryAnnotation] = [...history, String(before)].join(',');
    }
  }
  return { ...annotations, ...replicasAnnotations(deployment, maximum) };
}

/** What the ReplicaSet remembers of the size of the whole, to tell a change of scale from a rollout. */
export function replicasAnnotations(deployment: Deployment, maximum: number): Record<string, string> {
  return { [desiredAnnotation]: String(deployment.spec.replicas ?? 1), [maximumAnnotation]: String(maximum) };
}

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Container, Pod } from '../../api/index.ts';

/** Labels that tie containers and sandboxes to their pod. Users' tools (crictl, log agents) read them. */
export const labels = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
} as const;

/** Annotations from which a restarted kubelet learns how a container was meant. */
export const annotations = {
  hash: 'io.kubernetes.container.hash',
  restartCount: 'io.kubernetes.container.restartCount',
  terminationMessagePath: 'io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'io.kubernetes.container.terminationMessagePolicy',
  preStopHandler: 'io.kubernetes.container.preStopHandler',
  ports: 'io.kubernetes.container.ports',
  podDeletionGracePeriod: 'io.kubernetes.pod.deletionGracePeriod',
  podTerminationGracePeriod: 'io.kubernetes.pod.terminationGracePeriod',
  /** Milliseconds that the next container of this name waits when this one ends: back-offs survive us in the runtime. */
  crashDelay: 'io.deckhand.container.crashDelayMs',
} as const;

/** Annotations of the configuration a pod comes from. */
export const configAnnotations = {
  source: 'kubernetes.io/config.source',
  hash: 'kubernetes.io/config.hash',
  seen: 'kubernetes.io/config.seen',
  mirror: 'kubernetes.io/config.mirror',
} as const;

/** The labels of a pod's sandbox and, with a container's name added, of its containers. */
export function podLabels(pod: Pod): Record<string, string> {
  return {
    [labels.podName]: pod.metadata.name!,
    [labels.podNamespace]: pod.metadata.namespace!,
    [labels.podUid]: pod.metadata.uid!,
  };
}

/** What must be equal for a running container to be kept: a change of name or image restarts it. */
export function containerHash(container: Pick<Container, 'name' | 'image'>): string {
  const text = JSON.stringify({ image: container.image, name: container.name });
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

/** `name_namespace(uid)`, as messages name a pod. */
export function formatPod(pod: Pod): string {
  return `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
}

/** `namespace/name`. */
export function fullName(pod: Pod): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`;
}

/** Where a pod's files are: `<root>/pods/<uid>`. */
export function podDirectory(rootDirectory: string, podUid: string): string {
  return join(rootDirectory, 'pods', podUid);
}

/** The directory of a pod's logs: `<logs>/<namespace>_<name>_<uid>`. */
export function podLogDirectory(
  podLogsDirectory: string,
  pod: { namespace: string; name: string; uid: string },
): string {
  return join(podLogsDirectory, `${pod.namespace}_${pod.name}_${pod.uid}`);
}

/** Whether the pod comes from a manifest of this node and not from the API. */
export function isStaticPod(pod: Pod): boolean {
  const source = pod.metadata.annotations?.[configAnnotations.source];
  return source !== undefined && source !== 'api';
}

/** Whether the pod is the API's picture of a static pod. */
export function isMirrorPod(pod: Pod): boolean {
  return pod.metadata.annotations?.[configAnnotations.mirror] !== undefined;
}

/** Whether a sidecar: an init container that keeps running. */
export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** A time as the API writes it, seconds in UTC. `ms` is milliseconds since 1970. */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** A time of the API as milliseconds since 1970; undefined without one. */
export function parseTime(text: string | undefined): number | undefined {
  return text === undefined || text === null ? undefined : Date.parse(text);
}

import { createHash } from 'node:crypto';
import type { Node, PersistentVolume, Pod, VolumeAttachment } from '../../../api/index.ts';

/** A volume that a node is to have, and the pods that are why. */
export interface WantedAttachment {
  /** Name of the VolumeAttachment. */
  name: string;
  node: string;
  driver: string;
  handle: string;
  volume: PersistentVolume;
  pods: Set<string>;
}

/** Name of a volume's attachment to a node, as the driver's attacher and the kubelet compute it too. */
export function attachmentName(handle: string, driver: string, node: string): string {
  const hash = createHash('sha256').update(`${handle}${driver}${node}`).digest('hex');
  return `csi-${hash}`;
}

/** Whether a VolumeAttachment is one that this controller makes; others are left alone. */
export function isOurs({ metadata }: VolumeAttachment): boolean {
  return /^csi-[0-9a-f]{64}$/.test(metadata.name);
}

/** Name of a volume in a Node's status. */
export function uniqueName(driver: string, handle: string): string {
  return `kubernetes.io/csi/${driver}^${handle}`;
}

/** Whether a volume may be attached to several nodes. */
export function mayBeShared({ spec }: PersistentVolume): boolean {
  const modes = spec?.accessModes ?? [];
  return modes.length === 0 || modes.includes('ReadWriteMany') || modes.includes('ReadOnlyMany');
}

/**
 * Whether a pod needs its volumes attached: from its binding until it has run its course and, if it is being deleted,
 * until none of its containers run. What its node still has mounted is told by the node.
 */
export function needsVolumes({ spec, status, metadata }: Pod): boolean {
  if (!spec.nodeName || status?.phase === 'Succeeded' || status?.phase === 'Failed') return false;
  if (!metadata.deletionTimestamp) return true;
  const containers = [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  return containers.length === 0 || containers.some(({ state }) => !state?.terminated && !state?.waiting);
}

/** Names of the claims that a pod's volumes use. */
export function claimsOf({ metadata, spec }: Pod): string[] {
  return (spec.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim) return [persistentVolumeClaim.claimName];
    return ephemeral ? [`${metadata.name}-${name}`] : [];
  });
}

/** What is to be done about a volume that a node is not to have any longer. */
export type DetachDecision = { do: 'detach'; checkUse: boolean } | { do: 'wait'; ms?: number };

const outOfService = 'node.kubernetes.io/out-of-service';

/**
 * A volume is detached when its node no longer has it mounted. A node that is not well may never say so: after a time, or
 * at once when somebody has declared it out of service, the volume is taken away from it.
 */
export function decideDetach(
  node: Node | undefined,
  volume: string | undefined,
  unwantedForMs: number,
  maximumWaitMs: number,
): DetachDecision {
  const mounted = volume !== undefined && (node?.status?.volumesInUse ?? []).includes(volume);
  if (node && !mounted) return { do: 'detach', checkUse: true };
  if (node?.spec.taints?.some(({ key }) => key === outOfService)) return { do: 'detach', checkUse: false };
  const healthy = node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
  if (!node && volume === undefined) return { do: 'detach', checkUse: false };
  if (healthy) return { do: 'wait' };
  const leftMs = maximumWaitMs - unwantedForMs;
  return leftMs <= 0 ? { do: 'detach', checkUse: false } : { do: 'wait', ms: leftMs };
}

/** What a pod's user is told when a volume that one node may have is on another. */
export function multiAttachText(volume: string, pod: Pod, users: readonly Pod[]): string {
  const head = `Multi-Attach error for volume "${volume}"`;
  if (users.length === 0)
    return `${head} Volume is already exclusively attached to one node and can't be attached to another`;
  // Users of one namespace are not told the names of pods in others.
  const local = users.filter(({ metadata }) => metadata.namespace === pod.metadata.namespace);
  const others = users.length - local.length;
  const names = local.map(({ metadata }) => metadata.name).sort();
  if (names.length === 0) return `${head} Volume is already used by ${others} pod(s) in different namespaces`;
  const more = others > 0 ? ` and ${others} pod(s) in different namespaces` : '';
  return `${head} Volume is already used by pod(s) ${names.join(', ')}${more}`;
}

import {
  controllerOf,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  type StorageClass,
} from '../../api/index.ts';
import { claimKeysOf, classNameOf, isClaimBound } from '../volumes/facts.ts';
import { reachesNode } from '../volumes/matching.ts';
import type { NodeInfo } from './node-info.ts';
import type { Refusal } from './node-selection.ts';
import type { PodInfo } from './pod-info.ts';
import type { StorageObjects, VolumeStep } from './storage-objects.ts';

const reasons = {
  affinity: "node(s) didn't match PersistentVolume's node affinity",
  noMatch: "node(s) didn't find available persistent volumes to bind",
  gone: 'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)',
  once: 'node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod',
  count: 'node(s) exceed max volume count',
  zone: 'node(s) had no available volume zone',
} as const;

const zoneLabels = [
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
];

const refuse = (reason: string, unresolvable = true): Refusal => ({ reasons: [reason], unresolvable });

/** What a view asks the scheduler's picture of storage. */
export interface VolumeKnowledge {
  objects: StorageObjects;
  /** A free volume for a claim on a node, none of `taken`. */
  find(claim: PersistentVolumeClaim, node: NodeInfo, taken: ReadonlySet<string>): PersistentVolume | undefined;
  /** The class of a claim that has to wait for its pod; undefined when it is not of that kind. */
  delayedClass(claim: PersistentVolumeClaim): StorageClass | undefined;
  /** Whether a volume for the claim could be made on the node. */
  canProvision(claim: PersistentVolumeClaim, storageClass: StorageClass, node: NodeInfo): boolean;
  /** Pods on other nodes than this. */
  podsElsewhere(node: string): Pod[];
}

/** The volumes of one pod as one scheduling attempt sees them. */
export class PodVolumeView {
  /** Why the pod can be on no node at all for now. */
  readonly problem: string | undefined;
  readonly #state: VolumeKnowledge;
  readonly #info: PodInfo;
  readonly #bound: { claim: PersistentVolumeClaim; volume: PersistentVolume | undefined }[] = [];
  readonly #delayed: PersistentVolumeClaim[] = [];

  constructor(state: VolumeKnowledge, info: PodInfo, names: readonly { name: string; ephemeral: boolean }[]) {
    this.#state = state;
    this.#info = info;
    for (const one of names) this.problem ??= this.#take(one);
  }

  /** Why the node cannot have the pod because of its volumes. */
  refusal(node: NodeInfo): Refusal | undefined {
    if (this.#isTaken(node)) return refuse(reasons.once, false);
    if (this.#exceedsLimits(node)) return refuse(reasons.count, false);
    for (const { volume } of this.#bound) {
      if (!volume) return refuse(reasons.gone);
      if (node.node && !reachesNode(volume, node.node)) return refuse(reasons.affinity);
    }
    if (this.#delayed.length > 0 && !this.#plan(node)) return refuse(reasons.noMatch);
    if (this.#bound.some(({ volume }) => volume && !isInZone(volume, node))) return refuse(reasons.zone);
    return undefined;
  }

  /** What is to be written before the pod can be bound to the node. */
  steps(node: NodeInfo): VolumeStep[] {
    return this.#plan(node) ?? [];
  }

  #take({ name, ephemeral }: { name: string; ephemeral: boolean }): string | undefined {
    const { pod } = this.#info;
    const claim = this.#state.objects.claims.get(`${pod.metadata.namespace}/${name}`);
    if (!claim) {
      return ephemeral
        ? `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`
        : `persistentvolumeclaim "${name}" not found`;
    }
    if (ephemeral && controllerOf(claim)?.uid !== pod.metadata.uid)
      return `PVC ${pod.metadata.namespace}/${name} was not created for pod ${pod.metadata.namespace}/${pod.metadata.name} (pod is not owner)`;
    if (claim.metadata.deletionTimestamp) return `persistentvolumeclaim "${name}" is being deleted`;
    if (claim.status?.phase === 'Lost')
      return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec?.volumeName}"`;
    if (isClaimBound(claim)) {
      this.#bound.push({ claim, volume: this.#state.objects.volumes.get(claim.spec!.volumeName!) });
    } else if (this.#state.delayedClass(claim)) this.#delayed.push(claim);
    else return 'pod has unbound immediate PersistentVolumeClaims';
    return undefined;
  }

  /** A volume, or a place to make one, for each claim that waits; undefined when one finds none. */
  #plan(node: NodeInfo): VolumeStep[] | undefined {
    const steps: VolumeStep[] = [];
    const taken = new Set<string>();
    for (const claim of this.#delayed) {
      const volume = this.#state.find(claim, node, taken);
      if (volume) {
        taken.add(volume.metadata.name);
        steps.push({ kind: 'bind', claim, volume });
      } else if (this.#state.canProvision(claim, this.#state.delayedClass(claim)!, node)) {
        steps.push({ kind: 'provision', claim, node: node.name });
      } else return undefined;
    }
    return steps;
  }

  /** A ReadWriteOncePod claim is for one pod of the whole cluster; on this node that one could make room. */
  #isTaken(node: NodeInfo): boolean {
    const exclusive = [...this.#bound.map(({ claim }) => claim), ...this.#delayed]
      .filter(({ spec }) => spec?.accessModes?.includes('ReadWriteOncePod'))
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    if (exclusive.length === 0) return false;
    const uses = (pod: Pod): boolean =>
      pod.metadata.uid !== this.#info.uid && claimKeysOf(pod).some((key) => exclusive.includes(key));
    if ([...node.pods.values()].some(({ pod }) => uses(pod))) return true;
    return this.#state.podsElsewhere(node.name).some(uses);
  }

  /** Whether the node's CSI drivers have said that they cannot take so many volumes. */
  #exceedsLimits(node: NodeInfo): boolean {
    const drivers = this.#state.objects.csiNodes.get(node.name)?.spec?.drivers ?? [];
    const limits = new Map(
      drivers.flatMap(({ name, allocatable }) => (allocatable?.count === undefined ? [] : [[name, allocatable.count]])),
    );
    if (limits.size === 0) return false;
    const own = this.#attachments(this.#info.pod);
    if (own.length === 0) return false;
    const present = new Set([...node.pods.values()].flatMap(({ pod }) => this.#attachments(pod)));
    const all = new Set([...present, ...own]);
    return [...limits].some(([driver, limit]) => {
      const count = (set: ReadonlySet<string>): number => [...set].filter((one) => one.startsWith(`${driver}^`)).length;
      return count(all) > limit && count(all) > count(present);
    });
  }

  /** `driver^volume` of each CSI volume that a pod has, or will have, on its node. */
  #attachments(pod: Pod): string[] {
    const { claims, volumes, classes } = this.#state.objects;
    return claimKeysOf(pod).flatMap((key) => {
      const claim = claims.get(key);
      if (!claim) return [];
      const csi = volumes.get(claim.spec?.volumeName ?? '')?.spec?.csi;
      if (csi) return [`${csi.driver}^${csi.volumeHandle}`];
      if (claim.spec?.volumeName) return [];
      return [`${classes.get(classNameOf(claim))?.provisioner ?? ''}^${key}`];
    });
  }
}

/** A volume that says in which zones it is, on a node that says in which it is. */
function isInZone({ metadata }: PersistentVolume, { node }: NodeInfo): boolean {
  const own = node?.metadata.labels ?? {};
  return zoneLabels.every((label) => {
    const allowed = metadata.labels?.[label];
    return allowed === undefined || own[label] === undefined || allowed.split('__').includes(own[label]);
  });
}

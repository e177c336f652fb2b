import {
  matchLabelSelector,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  quantityValue,
  type StorageClass,
} from '../../api/index.ts';
import {
  annotations,
  claimNameOf,
  classNameOf,
  isClaimBound,
  noProvisioner,
  waitsForConsumer,
} from '../volumes/facts.ts';
import { findVolume } from '../volumes/matching.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';
import { PodVolumeView, type VolumeKnowledge } from './pod-volume-view.ts';
import type { StorageObjects, VolumeStep } from './storage-objects.ts';

/** Claims and volumes as the scheduler believes them to be: what the caches say plus what it has promised. */
export class VolumeState implements VolumeKnowledge {
  readonly objects: StorageObjects;
  /** Volume → uid of the pod for whose claim it is meant. */
  readonly #promised = new Map<string, string>();

  readonly #nodes: () => Iterable<NodeInfo>;

  constructor(objects: StorageObjects, nodes: () => Iterable<NodeInfo>) {
    this.objects = objects;
    this.#nodes = nodes;
  }

  /** Pods on other nodes than this. */
  podsElsewhere(node: string): Pod[] {
    return [...this.#nodes()]
      .filter(({ name }) => name !== node)
      .flatMap(({ pods }) => [...pods.values()].map(({ pod }) => pod));
  }

  /** The claims of a pod and what they ask of nodes; undefined when it has none. */
  viewOf(info: PodInfo): PodVolumeView | undefined {
    const names = (info.pod.spec.volumes ?? []).flatMap((volume) => {
      const name = claimNameOf(info.pod, volume);
      return name === undefined ? [] : [{ name, ephemeral: volume.ephemeral !== undefined }];
    });
    const inline = (info.pod.spec.volumes ?? []).flatMap(({ csi }) => csi?.driver ?? []);
    return names.length + inline.length > 0 ? new PodVolumeView(this, info, names) : undefined;
  }

  /** Plans what the pod needs on the node, and keeps it from others until {@link settle}. */
  assume(info: PodInfo, node: NodeInfo): VolumeStep[] {
    const steps = this.viewOf(info)?.steps(node) ?? [];
    for (const step of steps) if (step.kind === 'bind') this.#promised.set(step.volume.metadata.name, info.uid);
    return steps;
  }

  /** The pod's volumes are bound, or it has been given up. */
  settle(podUid: string): void {
    for (const [volume, uid] of this.#promised) if (uid === podUid) this.#promised.delete(volume);
  }

  /** A free volume for a claim on a node. */
  find(claim: PersistentVolumeClaim, node: NodeInfo, more: ReadonlySet<string>): PersistentVolume | undefined {
    if (!node.node) return undefined;
    const taken = new Set([...this.#promised.keys(), ...more]);
    return findVolume(claim, this.objects.volumes.list(), { node: node.node, taken });
  }

  /** The class of a claim that has to wait for its pod; undefined when it is not of that kind. */
  delayedClass(claim: PersistentVolumeClaim): StorageClass | undefined {
    const found = this.objects.classes.get(classNameOf(claim));
    return !isClaimBound(claim) && !claim.spec?.volumeName && waitsForConsumer(found) ? found : undefined;
  }

  /** Whether a volume for the claim could be made on the node. */
  canProvision(claim: PersistentVolumeClaim, storageClass: StorageClass, node: NodeInfo): boolean {
    const selected = claim.metadata.annotations?.[annotations.selectedNode];
    if (selected !== undefined) return selected === node.name;
    const { provisioner = noProvisioner, allowedTopologies = [] } = storageClass;
    if (provisioner === noProvisioner) return false;
    const labels = node.node?.metadata.labels ?? {};
    const allowed = allowedTopologies.some(({ matchLabelExpressions = [] }) =>
      matchLabelExpressions.every(({ key, values }) => values.includes(labels[key] ?? '\0')),
    );
    if (allowedTopologies.length > 0 && !allowed) return false;
    return this.#hasRoom(claim, storageClass, labels);
  }

  /** Drivers that publish their capacity are asked only where they have enough. */
  #hasRoom(claim: PersistentVolumeClaim, storageClass: StorageClass, labels: Record<string, string>): boolean {
    const { csiDrivers, csiCapacities } = this.objects;
    if (!csiDrivers.get(storageClass.provisioner!)?.spec?.storageCapacity) return true;
    const wanted = quantityValue(claim.spec?.resources?.requests?.['storage'] ?? 0);
    return csiCapacities.list().some((one) => {
      if (one.storageClassName !== storageClass.metadata.name || !one.nodeTopology) return false;
      const room = quantityValue(one.maximumVolumeSize ?? one.capacity ?? 0);
      return room >= wanted && matchLabelSelector(one.nodeTopology)(labels);
    });
  }
}

import type {
  CSIDriver,
  CSINode,
  CSIStorageCapacity,
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
} from '../../api/index.ts';

/** A cache of one resource. */
export interface Objects<T> {
  get(key: string): T | undefined;
  list(): T[];
}

/** What the scheduler knows of storage. */
export interface StorageObjects {
  claims: Objects<PersistentVolumeClaim>;
  volumes: Objects<PersistentVolume>;
  classes: Objects<StorageClass>;
  csiNodes: Objects<CSINode>;
  csiDrivers: Objects<CSIDriver>;
  csiCapacities: Objects<CSIStorageCapacity>;
}

/** What has to be written before a pod is bound to its node: a claim gets this volume, or one is made for it there. */
export type VolumeStep =
  | { kind: 'bind'; claim: PersistentVolumeClaim; volume: PersistentVolume }
  | { kind: 'provision'; claim: PersistentVolumeClaim; node: string };

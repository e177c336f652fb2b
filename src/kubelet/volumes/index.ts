export { resourceFieldValue } from './downward-fields.ts';
export { type OperationDurations, operationBuckets } from './operations.ts';
export type * from './plugin.ts';
export { createPodVolumes, type PodVolumesOptions } from './pod-volumes.ts';
export { VolumeError } from './volume-error.ts';

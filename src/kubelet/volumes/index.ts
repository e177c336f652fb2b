export { resourceFieldValue } from './downward-fields.ts';
export type { ChangeDetection } from './object-cache.ts';
export type * from './plugin.ts';
export { createPodVolumes, type PodVolumesOptions } from './pod-volumes.ts';
export { VolumeError } from './volume-error.ts';

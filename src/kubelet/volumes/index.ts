export { resourceFieldValue } from './downward-fields.ts';
export { createPodVolumes, type PodVolumesOptions } from './pod-volumes.ts';
export { VolumeError } from './volume-error.ts';

export {
  type ApiClient,
  createClient,
  patchTypes,
  readLines,
  resourcePath,
  type SelectOptions,
  type WatchEvent,
} from './api-client.ts';
export { ApiError, isAlreadyExists, isConflict, isExpired, isNotFound } from './api-error.ts';
export { createEventRecorder, type EventRecorder, type EventRecorderOptions, toReference } from './event-recorder.ts';
export { createInformer, type Informer, type InformerOptions } from './informer.ts';
export { type ClientConfig, formatKubeconfig, loadInClusterConfig, loadKubeconfig } from './kubeconfig.ts';
export { keepLease, type LeaseOptions, microTime } from './lease.ts';

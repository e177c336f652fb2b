export type { ImageConfiguration } from './image-documents.ts';
export { ImageError, type ImageErrorCode } from './image-error.ts';
export type { ImageRecord } from './image-index.ts';
export { formatImageReference, type ImageReference, parseImageReference, repositoryName } from './image-reference.ts';
export { type ImageStore, type ImageStoreOptions, openImageStore } from './image-store.ts';
export type { InheritedDirectory } from './inherited-directories.ts';
export type { RegistryAuth, RegistryConfig } from './registry-config.ts';

export { resources } from './generated/resources.ts';
export type * from './generated/types.ts';
export { type ApiObject, controllerOf, type Draft, objectKey, splitKey } from './object.ts';
export {
  canonicalQuantity,
  compareQuantities,
  formatBytes,
  formatMilli,
  parseQuantity,
  quantityMilli,
  quantityValue,
} from './quantity.ts';
export { type Resource, resource } from './resource.ts';
export * from './selector.ts';

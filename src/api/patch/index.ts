export { deepCopy, deepEqual, setOwn } from './deep-equal.ts';
export {
  differenceOf,
  emptySet,
  type FieldNode,
  fieldsOf,
  formatFieldsV1,
  isEmptySet,
  type Layout,
  layoutOfType,
  parseFieldsV1,
  pathsOf,
  unionOf,
} from './field-set.ts';
export { applyJsonPatch, type JsonPatchOperation } from './json-patch.ts';
export { applyMergePatch, createMergePatch } from './merge-patch.ts';
export { PatchError, type PatchErrorCode } from './patch-error.ts';
export { applyStrategicMergePatch } from './strategic-merge-patch.ts';
export { abandonedFields, changedFields, mergeStructured, removeFields } from './structured-merge.ts';

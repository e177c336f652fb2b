export { deepCopy, deepEqual, setOwn } from './deep-equal.ts';
export { applyJsonPatch, type JsonPatchOperation } from './json-patch.ts';
export { applyMergePatch, createMergePatch } from './merge-patch.ts';
export { PatchError, type PatchErrorCode } from './patch-error.ts';
export { applyStrategicMergePatch } from './strategic-merge-patch.ts';

export { compareVersions, Engine } from './engine.ts';
export { EngineError, isConflict, isMissing } from './engine-error.ts';
export type * from './engine-types.ts';
export { type Frame, FrameReader } from './frames.ts';
export { jsonLines } from './json-lines.ts';

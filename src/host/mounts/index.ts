export { idMapProblem, mountMapped, recursiveReadOnlyProblem } from './mapped-mount.ts';
export {
  bindMount,
  isMountPoint,
  isOverlay,
  mountOverlay,
  mountsUnder,
  mountTmpfs,
  type OverlayOptions,
  unmount,
} from './mounts.ts';

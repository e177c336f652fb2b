export { idMapProblem, mountMapped, recursiveReadOnlyProblem } from './mapped-mount.ts';
export { mountByHelper, mountByProgram, type ProgramMount, unmountByProgram } from './mount-program.ts';
export {
  bindMount,
  isMountPoint,
  isOverlay,
  mountHugePages,
  mountOverlay,
  mountSource,
  mountsUnder,
  mountTmpfs,
  type OverlayOptions,
  type TmpfsOptions,
  unmount,
} from './mounts.ts';

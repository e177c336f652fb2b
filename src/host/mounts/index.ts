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

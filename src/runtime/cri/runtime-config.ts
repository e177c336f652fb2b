import { CgroupDriver } from '../../api/cri/index.ts';

/** RuntimeConfig: cgroups are made by writing to the file system, without systemd. */
export function runtimeConfig() {
  return { linux: { cgroupDriver: CgroupDriver.CGROUPFS } };
}

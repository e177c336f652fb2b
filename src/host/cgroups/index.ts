export { CgroupTree, type CgroupVersion, openCgroups, removeCgroupTree } from './cgroup-tree.ts';
export type { CgroupDetails, DeviceUsage, HugepageUsage } from './details.ts';
export { type CgroupLimits, sharesToWeight } from './limits.ts';
export type { CgroupSample } from './sample.ts';
export { createSubCgroup, findSubCgroups, type SubCgroup } from './sub-cgroup.ts';
export { type CgroupUsage, type Pressure, type PressureLine, parsePressure } from './usage.ts';

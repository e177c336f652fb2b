export { type MachineCapacity, readMachineCapacity, readText } from './machine.ts';
export { createPodCgroups, type PodCgroupsOptions, podLimits } from './pod-cgroups.ts';

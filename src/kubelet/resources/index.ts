export { checkMemoryFacts, type MachineCapacity, readMachineCapacity, readMemoryFacts, readText } from './machine.ts';
export { makeCgroups, reservationsOf, startEnforcement } from './make-cgroups.ts';
export { mostPods, type Reserved, totalReserved } from './node-allocatable.ts';

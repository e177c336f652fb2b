export { cadvisorMetrics } from './cadvisor-metrics.ts';
export { measureTree } from './disk-usage.ts';
export { readFileSystem } from './node-usage.ts';
export { resourceMetrics } from './resource-metrics.ts';
export { Statistics } from './statistics.ts';
export { makeSummary } from './summary.ts';
export type { ContainerUsage, DiskUsage, PodUsage, Usage } from './usage.ts';

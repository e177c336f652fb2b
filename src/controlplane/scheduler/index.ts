export { podSelectsNode, tolerates, tolerationMatches } from './node-selection.ts';
export { type SchedulerConfig, startScheduler } from './start-scheduler.ts';

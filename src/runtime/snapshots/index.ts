export { openSnapshots, type Snapshots } from './snapshots.ts';

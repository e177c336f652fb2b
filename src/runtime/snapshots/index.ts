export { openSnapshots, type RootOwner, type Snapshots } from './snapshots.ts';

export { type BootstrapOptions, bootstrapCluster } from './bootstrap.ts';

export { type ComponentModule, type ComponentName, componentNames, loadComponent } from './component-module.ts';
export { describeFlags, type Flags, type FlagValues, parseFlags, UsageError } from './flags.ts';
export { runAlone } from './run-alone.ts';
export { setUp } from './setup.ts';
export { dataDirFlag, readUpOptions, type UpOptions, upFlags } from './up-options.ts';

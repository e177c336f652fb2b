import type { Clock, Component } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import type { Flags, FlagValues } from './flags.ts';

/** The components of a node, in the order in which they start. */
export const componentNames = ['apiserver', 'runtime', 'kubelet', 'proxy', 'scheduler', 'controllers', 'dns'] as const;

/** One of {@link componentNames}. */
export type ComponentName = (typeof componentNames)[number];

/** What every component is given. */
export interface ComponentContext {
  log: Logger;
  clock: Clock;
}

/** A component as a command: its options and how it starts. One file each in components/. */
export interface ComponentModule<F extends Flags = Flags> {
  name: ComponentName;
  /** One line for --help. */
  summary: string;
  flags: F;
  /** Does what the options ask for once (a clean-up) and gives true, or gives false and start() is called. */
  once?(values: FlagValues<F>, context: ComponentContext): Promise<boolean>;
  start(values: FlagValues<F>, context: ComponentContext): Promise<Component> | Component;
}

/** Keeps the types of a module's flags and of its values together. */
export function defineComponent<F extends Flags>(module: ComponentModule<F>): ComponentModule<F> {
  return module;
}

/** Loads one component's module; the others' code stays on disk. */
export async function loadComponent(name: ComponentName): Promise<ComponentModule> {
  const loaders: Record<ComponentName, () => Promise<{ default: unknown }>> = {
    apiserver: () => import('./components/apiserver.ts'),
    runtime: () => import('./components/runtime.ts'),
    kubelet: () => import('./components/kubelet.ts'),
    proxy: () => import('./components/proxy.ts'),
    scheduler: () => import('./components/scheduler.ts'),
    controllers: () => import('./components/controllers.ts'),
    dns: () => import('./components/dns.ts'),
  };
  return (await loaders[name]()).default as ComponentModule;
}

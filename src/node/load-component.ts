import type { ComponentModule, ComponentName } from './component-module.ts';

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

import type { CommandName, ComponentModule } from './component-module.ts';

/** Loads one component's module; the others' code stays on disk. */
export async function loadComponent(name: CommandName): Promise<ComponentModule> {
  const loaders: Record<CommandName, () => Promise<{ default: unknown }>> = {
    apiserver: () => import('./components/apiserver.ts'),
    runtime: () => import('./components/runtime.ts'),
    kubelet: () => import('./components/kubelet.ts'),
    proxy: () => import('./components/proxy.ts'),
    scheduler: () => import('./components/scheduler.ts'),
    controllers: () => import('./components/controllers.ts'),
    dns: () => import('./components/dns.ts'),
    'cri-docker': () => import('./components/cri-docker.ts'),
  };
  return (await loaders[name]()).default as ComponentModule;
}

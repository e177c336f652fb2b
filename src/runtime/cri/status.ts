import type { StatusRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';

/** Status: whether pods can be run and networked; with `verbose`, how the runtime is set up. */
export async function status(context: RuntimeContext, request: StatusRequest) {
  const problem = await context.network.problem();
  const features = { recursiveReadOnlyMounts: true, userNamespaces: false };
  return {
    status: {
      conditions: [
        { type: 'RuntimeReady', status: true, reason: '', message: '' },
        problem === undefined
          ? { type: 'NetworkReady', status: true, reason: '', message: '' }
          : {
              type: 'NetworkReady',
              status: false,
              reason: 'NetworkPluginNotReady',
              message: `Network plugin returns error: ${problem}`,
            },
      ],
    },
    runtimeHandlers: ['', ...context.ociRuntimes.keys()].map((name) => ({ name, features })),
    features: { supplementalGroupsPolicy: true, userNamespacesHostNetwork: false },
    info: (request.verbose ? { config: JSON.stringify(describeConfig(context)) } : {}) as Record<string, string>,
  };
}

function describeConfig({ settings, bridge, cgroups, ociRuntimes, store, kernel }: RuntimeContext) {
  return {
    rootDir: settings.root,
    stateDir: settings.state,
    cgroupParent: settings.cgroupParent,
    cgroupVersion: cgroups.version,
    podCidr: bridge.ranges.join(','),
    bridgeName: settings.bridgeName,
    cniConfDir: settings.cniConfDir,
    runtimes: [...ociRuntimes.values()].map(({ name, path }) => ({ name, path })),
    conmonPath: settings.conmonPath,
    sandboxes: store.sandboxes.list().length,
    containers: store.containers.list().length,
    apparmor: kernel.apparmor,
    selinux: kernel.selinux,
  };
}

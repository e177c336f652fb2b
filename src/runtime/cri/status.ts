import type { StatusRequest } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { featuresOf } from '../features/index.ts';

/** Status: whether pods can be run and networked; with `verbose`, how the runtime is set up. */
export async function status(context: RuntimeContext, request: StatusRequest) {
  const problem = await context.network.problem();
  const runtimeHandlers = await Promise.all(['', ...context.ociRuntimes.keys()].map((name) => handler(context, name)));
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
    runtimeHandlers,
    features: {
      supplementalGroupsPolicy: true,
      userNamespacesHostNetwork: runtimeHandlers.some(({ features }) => features.userNamespaces),
    },
    info: (request.verbose ? { config: JSON.stringify(await describeConfig(context)) } : {}) as Record<string, string>,
  };
}

/** What a handler can do, as found out by trying. */
async function handler(context: RuntimeContext, name: string) {
  const found = await featuresOf(context, name);
  return {
    name,
    features: {
      recursiveReadOnlyMounts: found.recursiveReadOnlyProblem === undefined,
      userNamespaces: found.userNamespaceProblem === undefined,
    },
  };
}

async function describeConfig(context: RuntimeContext) {
  const { settings, bridge, cgroups, ociRuntimes, store, kernel } = context;
  const runtimes = [...ociRuntimes.values()].map(async ({ name, path }) => {
    const { oci: _, ...problems } = await featuresOf(context, name);
    return { name, path, ...problems };
  });
  return {
    rootDir: settings.root,
    stateDir: settings.state,
    cgroupParent: settings.cgroupParent,
    cgroupVersion: cgroups.version,
    podCidr: bridge.ranges.join(','),
    bridgeName: settings.bridgeName,
    cniConfDir: settings.cniConfDir,
    runtimes: await Promise.all(runtimes),
    conmonPath: settings.conmonPath,
    sandboxes: store.sandboxes.list().length,
    containers: store.containers.list().length,
    apparmor: kernel.apparmor,
    selinux: kernel.selinux,
  };
}

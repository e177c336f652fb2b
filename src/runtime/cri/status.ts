import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RuntimeHandlerSchema, StatusRequest, StatusResponseSchema } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { featuresOf } from '../features/index.ts';
import { programVersion } from '../program-versions.ts';
import { printSettings } from '../settings/index.ts';

/** Status: whether pods can be run and networked; with `verbose`, how the runtime is set up. */
export async function status(
  context: RuntimeContext,
  request: StatusRequest,
): Promise<MessageInitShape<typeof StatusResponseSchema>> {
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
      userNamespacesHostNetwork: runtimeHandlers.some(({ features }) => features?.userNamespaces),
    },
    info: request.verbose ? await describe(context) : {},
  };
}

/** What a handler can do, as found out by trying. */
async function handler(context: RuntimeContext, name: string): Promise<MessageInitShape<typeof RuntimeHandlerSchema>> {
  const found = await featuresOf(context, name);
  return {
    name,
    features: {
      recursiveReadOnlyMounts: found.recursiveReadOnlyProblem === undefined,
      userNamespaces: found.userNamespaceProblem === undefined,
    },
  };
}

/** JSON documents: the configuration, what goes on, and the programs that do the work. */
async function describe(context: RuntimeContext): Promise<Record<string, string>> {
  return {
    config: JSON.stringify(await describeConfig(context)),
    calls: JSON.stringify(context.calls.describe()),
    versions: JSON.stringify(await describeVersions(context)),
  };
}

async function describeVersions({ settings, ociRuntimes, clock }: RuntimeContext) {
  const runtimes = await Promise.all(
    [...ociRuntimes.values()].map(async ({ name, path }) => [name, await programVersion(path, clock)]),
  );
  return {
    deckhand: settings.version,
    node: process.version,
    conmon: await programVersion(settings.conmonPath, clock),
    runtimes: Object.fromEntries(runtimes) as Record<string, string>,
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
    settings: printSettings(settings),
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

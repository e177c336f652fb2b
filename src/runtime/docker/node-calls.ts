import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  CgroupDriver,
  type RuntimeConfigResponseSchema,
  type StatusRequest,
  type StatusResponseSchema,
  type VersionResponseSchema,
} from '../../api/cri/index.ts';
import { messageOf } from '../errors.ts';
import type { DockerContext } from './docker-context.ts';
import type { EngineInfo } from './engine/index.ts';

/** Version: the engine's, under the name that users of Docker know. */
export async function version({ engine }: DockerContext): Promise<MessageInitShape<typeof VersionResponseSchema>> {
  const { ServerVersion } = await engine.setup();
  return { version: '0.1.0', runtimeName: 'docker', runtimeVersion: ServerVersion, runtimeApiVersion: 'v1' };
}

/** Status: whether the engine answers and pods can be networked; with `verbose`, what the engine says of itself. */
export async function status(
  context: DockerContext,
  request: StatusRequest,
): Promise<MessageInitShape<typeof StatusResponseSchema>> {
  const [info, problem] = await Promise.all([
    context.engine.get<EngineInfo>('/info').catch((error: unknown) => messageOf(error)),
    context.network.problem(),
  ]);
  const { settings } = context;
  const engineProblem = typeof info === 'string' ? info : undefined;
  const handlers = typeof info === 'string' ? [] : Object.keys(info.Runtimes ?? {});
  const features = {
    recursiveReadOnlyMounts: await context.engine.speaks('1.44').catch(() => false),
    userNamespaces: false,
  };
  return {
    status: {
      conditions: [
        condition('RuntimeReady', 'DockerDaemonNotReady', 'docker: ', engineProblem),
        condition('NetworkReady', 'NetworkPluginNotReady', 'Network plugin returns error: ', problem),
      ],
    },
    runtimeHandlers: ['', ...handlers].map((name) => ({ name, features })),
    features: { supplementalGroupsPolicy: false },
    info: (request.verbose
      ? {
          config: JSON.stringify({ rootDir: settings.root, stateDir: settings.state, ...settings }),
          engine: JSON.stringify(info),
          calls: JSON.stringify(context.calls.describe()),
        }
      : {}) as Record<string, string>,
  };
}

function condition(type: string, reason: string, before: string, problem: string | undefined) {
  return problem === undefined
    ? { type, status: true, reason: '', message: '' }
    : { type, status: false, reason, message: `${before}${problem}` };
}

/** RuntimeConfig: the engine's cgroup driver. */
export async function runtimeConfig({
  engine,
}: DockerContext): Promise<MessageInitShape<typeof RuntimeConfigResponseSchema>> {
  const { CgroupDriver: driver } = await engine.setup();
  return { linux: { cgroupDriver: driver === 'systemd' ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS } };
}

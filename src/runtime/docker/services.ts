import { toJson } from '@bufbuild/protobuf';
import {
  ContainerConfigSchema,
  type ContainerStatusRequest,
  ImageSchema,
  ImageService,
  type PodSandboxStatusRequest,
  RuntimeService,
} from '../../api/cri/index.ts';
import { type GrpcService, grpcService, type Handlers } from '../../wire/grpc/index.ts';
import { traceService } from '../calls/index.ts';
import { attach } from '../cri/attach.ts';
import { checkRequest } from '../cri/check-request.ts';
import { containerStats } from '../cri/container-stats.ts';
import { toContainerStatus } from '../cri/convert.ts';
import { exec } from '../cri/exec.ts';
import { getContainerEvents } from '../cri/get-container-events.ts';
import { listContainerStats } from '../cri/list-container-stats.ts';
import { listContainers } from '../cri/list-containers.ts';
import { listMetricDescriptors } from '../cri/list-metric-descriptors.ts';
import { listPodSandbox } from '../cri/list-pod-sandbox.ts';
import { listPodSandboxMetrics } from '../cri/list-pod-sandbox-metrics.ts';
import { listPodSandboxStats } from '../cri/list-pod-sandbox-stats.ts';
import { podSandboxStats } from '../cri/pod-sandbox-stats.ts';
import { podSandboxStatus } from '../cri/pod-sandbox-status.ts';
import { portForward } from '../cri/port-forward.ts';
import {
  parts,
  streamContainerStats,
  streamContainers,
  streamPodSandboxes,
  streamPodSandboxMetrics,
  streamPodSandboxStats,
} from '../cri/streams.ts';
import { updatePodSandboxResources } from '../cri/update-pod-sandbox-resources.ts';
import { updateRuntimeConfig } from '../cri/update-runtime-config.ts';
import { invalid, notInState, RuntimeError } from '../errors.ts';
import { createContainer } from './containers/create-container.ts';
import { removeContainer } from './containers/remove-container.ts';
import { startContainer } from './containers/start-container.ts';
import { stopContainer } from './containers/stop-container.ts';
import { updateContainerResources } from './containers/update-resources.ts';
import type { DockerContext } from './docker-context.ts';
import { imageFsInfo, imageStatus, images, pullImage } from './image-calls.ts';
import { runtimeConfig, status, version } from './node-calls.ts';
import { runSandbox } from './sandboxes/run-sandbox.ts';
import { removeSandbox, stopSandbox } from './sandboxes/stop-sandbox.ts';
import { execSync } from './streams/exec-sync.ts';

/** The two services of the CRI over a Docker Engine. What has no handler here answers UNIMPLEMENTED. */
export function dockerServices(context: DockerContext): GrpcService[] {
  return [runtimeService(context), imageService(context)].map((service) =>
    traceService(service, context.calls, checkRequest),
  );
}

type RuntimeHandlers = Handlers<typeof RuntimeService>;

function runtimeService(context: DockerContext): GrpcService {
  return grpcService(RuntimeService, {
    ...sandboxHandlers(context),
    ...containerHandlers(context),
    ...statsHandlers(context),
    version: () => version(context),
    status: (request) => status(context, request),
    runtimeConfig: () => runtimeConfig(context),
    updateRuntimeConfig: (request) => updateRuntimeConfig(context, request),
    updatePodSandboxResources: (request) => updatePodSandboxResources(context, request),
    reopenContainerLog: async ({ containerId }) => {
      const { id, phase } = context.store.containers.get(containerId);
      if (phase.name !== 'running') throw notInState(`container "${id}" is not running`);
      if (!(await context.logs.reopen(id))) throw notInState(`container "${id}" has no log`);
      return {};
    },
    execSync: (request, { signal }) => execSync(context, request, signal),
    exec: (request) => exec(context, request),
    attach: (request) => attach(context, request),
    portForward: (request) => portForward(context, request),
    checkpointContainer: () => {
      throw new RuntimeError('UNIMPLEMENTED', 'checkpoints are not supported through the Docker Engine');
    },
    getContainerEvents: (_, caller) => getContainerEvents(context, caller),
  });
}

function sandboxHandlers(context: DockerContext): RuntimeHandlers {
  return {
    runPodSandbox: async ({ config, runtimeHandler }) => {
      if (!config) throw invalid('a sandbox needs a config');
      return { podSandboxId: await runSandbox(context, config, runtimeHandler) };
    },
    stopPodSandbox: async ({ podSandboxId }) => {
      await stopSandbox(context, podSandboxId);
      return {};
    },
    removePodSandbox: async ({ podSandboxId }) => {
      await removeSandbox(context, podSandboxId);
      return {};
    },
    podSandboxStatus: (request: PodSandboxStatusRequest) => podSandboxStatus(context, request),
    listPodSandbox: (request) => listPodSandbox(context, request),
    streamPodSandboxes: (request) => streamPodSandboxes(context, request),
  };
}

function containerHandlers(context: DockerContext): RuntimeHandlers {
  return {
    createContainer: async ({ podSandboxId, config }) => {
      if (!config) throw invalid('a container needs a config');
      return { containerId: await createContainer(context, podSandboxId, config) };
    },
    startContainer: async ({ containerId }) => {
      await startContainer(context, containerId);
      return {};
    },
    stopContainer: async ({ containerId, timeout }) => {
      await stopContainer(context, containerId, Math.max(0, Number(timeout)));
      return {};
    },
    removeContainer: async ({ containerId }) => {
      await removeContainer(context, containerId);
      return {};
    },
    listContainers: (request) => listContainers(context, request),
    streamContainers: (request) => streamContainers(context, request),
    containerStatus: (request) => containerStatus(context, request),
    updateContainerResources: (request) => updateContainerResources(context, request),
  };
}

function statsHandlers(context: DockerContext): RuntimeHandlers {
  return {
    containerStats: (request) => containerStats(context, request),
    listContainerStats: (request) => listContainerStats(context, request),
    streamContainerStats: (request) => streamContainerStats(context, request),
    podSandboxStats: (request) => podSandboxStats(context, request),
    listPodSandboxStats: (request) => listPodSandboxStats(context, request),
    streamPodSandboxStats: (request) => streamPodSandboxStats(context, request),
    listMetricDescriptors: () => listMetricDescriptors(),
    listPodSandboxMetrics: () => listPodSandboxMetrics(context),
    streamPodSandboxMetrics: () => streamPodSandboxMetrics(context),
  };
}

function imageService(context: DockerContext): GrpcService {
  return grpcService(ImageService, {
    listImages: async (request) => ({ images: await images(context, request) }),
    streamImages: async function* (request) {
      for (const part of parts(ImageSchema, await images(context, request))) yield { images: part };
    },
    imageStatus: (request) => imageStatus(context, request),
    pullImage: (request, { signal }) => pullImage(context, request, signal),
    removeImage: async ({ image }) => {
      if (!image?.image) throw invalid('no image is named');
      await context.images.remove(image.image);
      return {};
    },
    imageFsInfo: () => imageFsInfo(context),
  });
}

/** ContainerStatus: all that is known of a container; with `verbose`, its pid and configuration too. */
function containerStatus(context: DockerContext, request: ContainerStatusRequest) {
  const record = context.store.containers.get(request.containerId);
  const info: Record<string, string> = request.verbose
    ? {
        info: JSON.stringify({
          sandboxID: record.sandboxId,
          pid: record.phase.name === 'running' ? record.phase.process.pid : 0,
          cgroupPath: record.cgroupPath,
          config: toJson(ContainerConfigSchema, record.config, { useProtoFieldName: true }),
        }),
      }
    : {};
  return { status: toContainerStatus(record), info };
}

import { ImageService, RuntimeService } from '../../api/cri/index.ts';
import { type GrpcService, grpcService } from '../../wire/grpc/index.ts';
import { traceService } from '../calls/index.ts';
import type { RuntimeContext } from '../context.ts';
import { attach } from './attach.ts';
import { checkRequest } from './check-request.ts';
import { checkpointContainer } from './checkpoint-container.ts';
import { containerStats } from './container-stats.ts';
import { containerStatus } from './container-status.ts';
import { createContainer } from './create-container.ts';
import { exec } from './exec.ts';
import { execSync } from './exec-sync.ts';
import { getContainerEvents } from './get-container-events.ts';
import { imageFsInfo } from './image-fs-info.ts';
import { imageStatus } from './image-status.ts';
import { listContainerStats } from './list-container-stats.ts';
import { listContainers } from './list-containers.ts';
import { listImages } from './list-images.ts';
import { listMetricDescriptors } from './list-metric-descriptors.ts';
import { listPodSandbox } from './list-pod-sandbox.ts';
import { listPodSandboxMetrics } from './list-pod-sandbox-metrics.ts';
import { listPodSandboxStats } from './list-pod-sandbox-stats.ts';
import { podSandboxStats } from './pod-sandbox-stats.ts';
import { podSandboxStatus } from './pod-sandbox-status.ts';
import { portForward } from './port-forward.ts';
import { pullImage } from './pull-image.ts';
import { removeContainer } from './remove-container.ts';
import { removeImage } from './remove-image.ts';
import { removePodSandbox } from './remove-pod-sandbox.ts';
import { reopenContainerLog } from './reopen-container-log.ts';
import { runPodSandbox } from './run-pod-sandbox.ts';
import { runtimeConfig } from './runtime-config.ts';
import { startContainer } from './start-container.ts';
import { status } from './status.ts';
import { stopContainer } from './stop-container.ts';
import { stopPodSandbox } from './stop-pod-sandbox.ts';
import {
  streamContainerStats,
  streamContainers,
  streamImages,
  streamPodSandboxes,
  streamPodSandboxMetrics,
  streamPodSandboxStats,
} from './streams.ts';
import { updateContainerResources } from './update-container-resources.ts';
import { updatePodSandboxResources } from './update-pod-sandbox-resources.ts';
import { updateRuntimeConfig } from './update-runtime-config.ts';
import { version } from './version.ts';

/** The two services of the CRI over one runtime. */
export function criServices(context: RuntimeContext): GrpcService[] {
  return [runtimeService(context), imageService(context)].map((service) =>
    traceService(service, context.calls, checkRequest),
  );
}

function runtimeService(context: RuntimeContext): GrpcService {
  return grpcService(RuntimeService, {
    version: () => version(context),
    runPodSandbox: (request) => runPodSandbox(context, request),
    stopPodSandbox: (request) => stopPodSandbox(context, request),
    removePodSandbox: (request) => removePodSandbox(context, request),
    podSandboxStatus: (request) => podSandboxStatus(context, request),
    listPodSandbox: (request) => listPodSandbox(context, request),
    streamPodSandboxes: (request) => streamPodSandboxes(context, request),
    createContainer: (request) => createContainer(context, request),
    startContainer: (request) => startContainer(context, request),
    stopContainer: (request) => stopContainer(context, request),
    removeContainer: (request) => removeContainer(context, request),
    listContainers: (request) => listContainers(context, request),
    streamContainers: (request) => streamContainers(context, request),
    containerStatus: (request) => containerStatus(context, request),
    updateContainerResources: (request) => updateContainerResources(context, request),
    reopenContainerLog: (request) => reopenContainerLog(context, request),
    execSync: (request, { signal }) => execSync(context, request, signal),
    exec: (request) => exec(context, request),
    attach: (request) => attach(context, request),
    portForward: (request) => portForward(context, request),
    containerStats: (request) => containerStats(context, request),
    listContainerStats: (request) => listContainerStats(context, request),
    streamContainerStats: (request) => streamContainerStats(context, request),
    podSandboxStats: (request) => podSandboxStats(context, request),
    listPodSandboxStats: (request) => listPodSandboxStats(context, request),
    streamPodSandboxStats: (request) => streamPodSandboxStats(context, request),
    updateRuntimeConfig: (request) => updateRuntimeConfig(context, request),
    status: (request) => status(context, request),
    checkpointContainer: (request) => checkpointContainer(context, request),
    getContainerEvents: (_, caller) => getContainerEvents(context, caller),
    listMetricDescriptors: () => listMetricDescriptors(),
    listPodSandboxMetrics: () => listPodSandboxMetrics(context),
    streamPodSandboxMetrics: () => streamPodSandboxMetrics(context),
    runtimeConfig: () => runtimeConfig(),
    updatePodSandboxResources: (request) => updatePodSandboxResources(context, request),
  });
}

function imageService(context: RuntimeContext): GrpcService {
  return grpcService(ImageService, {
    listImages: (request) => listImages(context, request),
    streamImages: (request) => streamImages(context, request),
    imageStatus: (request) => imageStatus(context, request),
    pullImage: (request, { signal }) => pullImage(context, request, signal),
    removeImage: (request) => removeImage(context, request),
    imageFsInfo: () => imageFsInfo(context),
  });
}

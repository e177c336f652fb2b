import type {
  StreamContainerStatsRequest,
  StreamContainersRequest,
  StreamImagesRequest,
  StreamPodSandboxesRequest,
  StreamPodSandboxStatsRequest,
} from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { toContainer, toImage, toSandbox } from './convert.ts';
import { statsOfContainers } from './list-container-stats.ts';
import { filterContainers } from './list-containers.ts';
import { filterImages } from './list-images.ts';
import { filterSandboxes } from './list-pod-sandbox.ts';
import { statsOfSandboxes } from './pod-sandbox-stats.ts';

/** Items per message: far below the largest message even with many labels. */
const batchSize = 100;

function* batches<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += batchSize) yield items.slice(at, at + batchSize);
}

/** StreamPodSandboxes: like ListPodSandbox, in parts. */
export async function* streamPodSandboxes(context: RuntimeContext, request: StreamPodSandboxesRequest) {
  for (const part of batches(filterSandboxes(context, request.filter))) yield { podSandboxes: part.map(toSandbox) };
}

/** StreamContainers: like ListContainers, in parts. */
export async function* streamContainers(context: RuntimeContext, request: StreamContainersRequest) {
  for (const part of batches(filterContainers(context, request.filter))) yield { containers: part.map(toContainer) };
}

/** StreamImages: like ListImages, in parts. */
export async function* streamImages(context: RuntimeContext, request: StreamImagesRequest) {
  for (const part of batches(filterImages(context, request.filter))) yield { images: part.map(toImage) };
}

/** StreamContainerStats: like ListContainerStats, in parts. */
export async function* streamContainerStats(context: RuntimeContext, request: StreamContainerStatsRequest) {
  for (const part of batches(await statsOfContainers(context, request.filter))) yield { containerStats: part };
}

/** StreamPodSandboxStats: like ListPodSandboxStats, in parts. */
export async function* streamPodSandboxStats(context: RuntimeContext, request: StreamPodSandboxStatsRequest) {
  for (const part of batches(await statsOfSandboxes(context, request.filter))) yield { podSandboxStats: part };
}

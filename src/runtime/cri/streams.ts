import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import {
  ContainerSchema,
  ContainerStatsSchema,
  ImageSchema,
  PodSandboxMetricsSchema,
  PodSandboxSchema,
  PodSandboxStatsSchema,
  type StreamContainerStatsRequest,
  type StreamContainerStatsResponseSchema,
  type StreamContainersRequest,
  type StreamContainersResponseSchema,
  type StreamImagesRequest,
  type StreamImagesResponseSchema,
  type StreamPodSandboxesRequest,
  type StreamPodSandboxesResponseSchema,
  type StreamPodSandboxMetricsResponseSchema,
  type StreamPodSandboxStatsRequest,
  type StreamPodSandboxStatsResponseSchema,
} from '../../api/cri/index.ts';
import type { RecordContext, RuntimeContext } from '../context.ts';
import { toContainer, toImage, toSandbox } from './convert.ts';
import { statsOfContainers } from './list-container-stats.ts';
import { filterContainers } from './list-containers.ts';
import { filterImages } from './list-images.ts';
import { filterSandboxes } from './list-pod-sandbox.ts';
import { allMetrics } from './list-pod-sandbox-metrics.ts';
import { statsOfSandboxes } from './pod-sandbox-stats.ts';

/** A message ends where it would become larger than this, bytes: far below the largest that clients take. */
const partBytes = 4 << 20;

/** A streamed response. */
type Parts<D extends DescMessage> = AsyncIterable<MessageInitShape<D>>;

/** Items in parts that are not too large, each at least one. */
export function* parts<D extends DescMessage>(
  schema: D,
  items: readonly MessageInitShape<D>[],
): Generator<MessageShape<D>[]> {
  let part: MessageShape<D>[] = [];
  let size = 0;
  for (const item of items) {
    const message = create(schema, item);
    const bytes = toBinary(schema, message).length;
    if (part.length > 0 && size + bytes > partBytes) {
      yield part;
      [part, size] = [[], 0];
    }
    part.push(message);
    size += bytes;
  }
  if (part.length > 0) yield part;
}

/** StreamPodSandboxes: like ListPodSandbox, in parts. */
export async function* streamPodSandboxes(
  context: RecordContext,
  request: StreamPodSandboxesRequest,
): Parts<typeof StreamPodSandboxesResponseSchema> {
  const items = filterSandboxes(context, request.filter).map(toSandbox);
  for (const podSandboxes of parts(PodSandboxSchema, items)) yield { podSandboxes };
}

/** StreamContainers: like ListContainers, in parts. */
export async function* streamContainers(
  context: RecordContext,
  request: StreamContainersRequest,
): Parts<typeof StreamContainersResponseSchema> {
  const items = filterContainers(context, request.filter).map(toContainer);
  for (const containers of parts(ContainerSchema, items)) yield { containers };
}

/** StreamImages: like ListImages, in parts. */
export async function* streamImages(
  context: RuntimeContext,
  request: StreamImagesRequest,
): Parts<typeof StreamImagesResponseSchema> {
  const items = filterImages(context, request.filter).map(toImage);
  for (const images of parts(ImageSchema, items)) yield { images };
}

/** StreamContainerStats: like ListContainerStats, in parts. */
export async function* streamContainerStats(
  context: RecordContext,
  request: StreamContainerStatsRequest,
): Parts<typeof StreamContainerStatsResponseSchema> {
  const items = await statsOfContainers(context, request.filter);
  for (const containerStats of parts(ContainerStatsSchema, items)) yield { containerStats };
}

/** StreamPodSandboxStats: like ListPodSandboxStats, in parts. */
export async function* streamPodSandboxStats(
  context: RecordContext,
  request: StreamPodSandboxStatsRequest,
): Parts<typeof StreamPodSandboxStatsResponseSchema> {
  const items = await statsOfSandboxes(context, request.filter);
  for (const podSandboxStats of parts(PodSandboxStatsSchema, items)) yield { podSandboxStats };
}

/** StreamPodSandboxMetrics: like ListPodSandboxMetrics, in parts. */
export async function* streamPodSandboxMetrics(
  context: RecordContext,
): Parts<typeof StreamPodSandboxMetricsResponseSchema> {
  const items = await allMetrics(context);
  for (const podSandboxMetrics of parts(PodSandboxMetricsSchema, items)) yield { podSandboxMetrics };
}

import { chmod, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Container, Pod } from '../../api/index.ts';
import { podResources } from '../../api/plugins/index.ts';
import type { Clock } from '../../async/index.ts';
import { type CallContext, GrpcError, type GrpcServer, grpcService, serveGrpc } from '../../wire/grpc/index.ts';
import type { CpuManager } from '../managers/cpu-manager.ts';
import type { MemoryManager } from '../managers/memory-manager.ts';
import type { MemoryBlock } from '../managers/memory-state.ts';
import type { Nodes } from '../managers/topology-hints.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { DeviceManager } from './device-manager.ts';

/** What the service tells from. */
export interface PodResourcesOptions {
  /** `<root>/pod-resources/kubelet.sock`. */
  socket: string;
  /** Pods that have not ended. */
  pods(): readonly Pod[];
  devices: DeviceManager;
  cpus: CpuManager | undefined;
  memory: MemoryManager | undefined;
  metrics: KubeletMetrics;
  clock: Clock;
}

/** Calls a second, and at once. */
const callsPerSecond = 100;
const burst = 10;

/** Serves podresources v1. */
export async function servePodResources(options: PodResourcesOptions): Promise<GrpcServer> {
  await mkdir(dirname(options.socket), { recursive: true, mode: 0o750 });
  const limit = rateLimit(options.clock);
  const labels = { server_api_version: 'v1' };
  const limited =
    <Q, A>(name: 'list' | 'get' | 'get_allocatable', handler: (request: Q) => A) =>
    (request: Q, _: CallContext): A => {
      limit();
      options.metrics.count('kubelet_pod_resources_endpoint_requests_total', labels);
      options.metrics.count(`kubelet_pod_resources_endpoint_requests_${name}`, labels);
      return handler(request);
    };
  const server = await serveGrpc(options.socket, [
    grpcService(podResources.PodResourcesLister, {
      list: limited('list', () => ({ podResources: options.pods().map((pod) => resourcesOf(pod, options)) })),
      get: limited('get', ({ podName, podNamespace }: podResources.GetPodResourcesRequest) => {
        const pod = options
          .pods()
          .find(({ metadata }) => metadata.name === podName && metadata.namespace === podNamespace);
        if (!pod) options.metrics.count('kubelet_pod_resources_endpoint_errors_get', labels);
        if (!pod) throw new GrpcError('UNKNOWN', `pod ${podName} in namespace ${podNamespace} not found`);
        return { podResources: resourcesOf(pod, options) };
      }),
      getAllocatableResources: limited('get_allocatable', () => ({
        devices: [...options.devices.allocatable()].flatMap(([resourceName, devices]) =>
          devices.map(({ id, nodes }) => ({ resourceName, deviceIds: [id], ...topology(nodes) })),
        ),
        cpuIds: [...(options.cpus?.allocatable ?? [])].sort((a, b) => a - b).map(BigInt),
        memory: (options.memory?.allocatable() ?? []).map(toMemory),
      })),
    }),
  ]);
  await chmod(options.socket, 0o660);
  return server;
}

function resourcesOf(pod: Pod, options: PodResourcesOptions) {
  const { name = '', namespace = '' } = pod.metadata;
  const sidecars = (pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  const containers = [...sidecars, ...pod.spec.containers].map((container) => containerOf(pod, container, options));
  return { name, namespace, containers };
}

function containerOf(pod: Pod, { name }: Container, { devices, cpus, memory }: PodResourcesOptions) {
  const { uid } = pod.metadata;
  return {
    name,
    devices: devices.entriesOf(uid, name).flatMap((entry) =>
      [...entry.devices].map(([node, deviceIds]) => ({
        resourceName: entry.resource,
        deviceIds: [...deviceIds],
        ...topology(node < 0 ? [] : [node]),
      })),
    ),
    cpuIds: [...(cpus?.exclusiveOf(uid, name) ?? [])].sort((a, b) => a - b).map(BigInt),
    memory: (memory?.blocksOf(uid, name) ?? []).map(toMemory),
    dynamicResources: [],
  };
}

function topology(nodes: Nodes) {
  return nodes.length > 0 ? { topology: { nodes: nodes.map((node) => ({ ID: BigInt(node) })) } } : {};
}

function toMemory({ type, size, numaAffinity }: MemoryBlock) {
  return { memoryType: type, size: BigInt(size), ...topology(numaAffinity) };
}

/** A bucket of calls: whoever calls when it is empty is refused. */
function rateLimit(clock: Clock): () => void {
  let left = burst;
  let at = clock.monotonic();
  return () => {
    const now = clock.monotonic();
    left = Math.min(burst, left + ((now - at) / 1000) * callsPerSecond);
    at = now;
    if (left < 1) throw new GrpcError('RESOURCE_EXHAUSTED', 'rejected by rate limit');
    left--;
  };
}

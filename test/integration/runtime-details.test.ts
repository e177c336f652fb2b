import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { ImageService, NamespaceMode, RuntimeService } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { criImageNames } from '../support/cri-images.ts';
import { CriRegistry } from '../support/cri-registry.ts';
import { CriRuntime } from '../support/cri-runtime.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';

const stack = new AsyncDisposableStack();
let cri: GrpcClient<typeof RuntimeService>;
let images: GrpcClient<typeof ImageService>;
let pods = 0;

before(async () => {
  const namespace = stack.use(await NetworkNamespace.create('details'));
  const registry = stack.use(await CriRegistry.start(namespace));
  const runtime = stack.use(await CriRuntime.start(namespace, { mirrors: registry.mirrors() }));
  const socket = runtime.endpoint.replace('unix://', '');
  cri = createGrpcClient(RuntimeService, socket);
  stack.defer(() => cri.close());
  images = createGrpcClient(ImageService, socket);
  stack.defer(() => images.close());
  await images.pullImage({ image: { image: criImageNames.busybox } });
});

after(() => stack.disposeAsync());

/** Starts a container in a pod whose containers share a PID namespace. */
async function runShared(command: string[], more: object = {}): Promise<string> {
  const name = `pod${++pods}`;
  const namespaceOptions = { pid: NamespaceMode.POD };
  const config = {
    metadata: { name, namespace: 'default', uid: name, attempt: 0 },
    linux: { securityContext: { namespaceOptions } },
  };
  const { podSandboxId } = await cri.runPodSandbox({ config });
  const container = {
    metadata: { name: 'main', attempt: 0 },
    image: { image: criImageNames.busybox },
    command,
    linux: { securityContext: { namespaceOptions } },
    ...more,
  };
  const { containerId } = await cri.createContainer({ podSandboxId, config: container, sandboxConfig: config });
  await cri.startContainer({ containerId });
  return containerId;
}

const output = async (containerId: string, ...cmd: string[]): Promise<string> =>
  Buffer.from((await cri.execSync({ containerId, cmd, timeout: 10n })).stdout)
    .toString()
    .trim();

test('a command that took too long is gone when its caller hears of it', async () => {
  const containerId = await runShared(['sh', '-c', 'top']);
  for (let round = 0; round < 3; round++) {
    await assert.rejects(cri.execSync({ containerId, cmd: ['sleep', '4321'], timeout: 1n }), {
      code: 'DEADLINE_EXCEEDED',
    });
    assert.equal(await output(containerId, 'sh', '-c', 'pgrep sleep || true'), '');
  }
});

test('PID 1 of a shared namespace is called pause, and takes away orphans', async () => {
  const containerId = await runShared(['sleep', '1000']);
  assert.equal(await output(containerId, 'cat', '/proc/1/comm'), 'pause');
  await output(containerId, 'sh', '-c', '(sleep 0.1 & sleep 0.1 & exec true)');
  await pollUntil(
    'the end of the orphans',
    async () => (await output(containerId, 'pgrep', 'sleep')).split('\n').length === 1,
    { timeoutMs: 5_000 },
  );
  assert.ok(!readFileSync(`/proc/self/mountinfo`, 'utf8').includes(`${containerId}/pause`));
});

test('the status tells which image a container and its image volumes have, by digest', async () => {
  const { imageRef: id } = await images.pullImage({ image: { image: criImageNames.httpd } });
  const containerId = await runShared(['sleep', '1000'], {
    image: { image: id, userSpecifiedImage: criImageNames.httpd },
    mounts: [{ containerPath: '/image', readonly: true, image: { image: criImageNames.busybox } }],
  });
  const busybox = (await images.imageStatus({ image: { image: criImageNames.busybox } })).image!;
  const httpd = (await images.imageStatus({ image: { image: criImageNames.httpd } })).image!;
  const { status } = await cri.containerStatus({ containerId });
  assert.equal(status!.mounts[0]!.image!.imageRef, busybox.id);
  assert.deepEqual([status!.imageId, status!.imageRef], [httpd.id, httpd.repoDigests[0]]);
  const [listed] = (await cri.listContainers({ filter: { id: containerId } })).containers;
  assert.deepEqual([listed!.imageId, listed!.imageRef], [httpd.id, httpd.repoDigests[0]]);
});

test('verbose statuses have the configurations in the form in which they were given', async () => {
  const containerId = await runShared(['sleep', '1000'], { logPath: 'a.log' });
  const { status, info } = await cri.containerStatus({ containerId, verbose: true });
  assert.equal(JSON.parse(info['info']!).config.log_path, 'a.log');
  const { sandboxID: podSandboxId } = JSON.parse(info['info']!);
  const sandbox = await cri.podSandboxStatus({ podSandboxId, verbose: true });
  const { config } = JSON.parse(sandbox.info['info']!);
  assert.deepEqual([config.metadata.name, status!.metadata!.name], [`pod${pods}`, 'main']);
  assert.equal(config.linux.security_context.namespace_options.pid ?? 'POD', 'POD');
});

/** What dashboards know from cAdvisor, without `container_`. */
const metricNames = `
  blkio_device_usage_total cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total
  cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total file_descriptors fs_inodes_free fs_inodes_total
  fs_limit_bytes fs_reads_bytes_total fs_reads_total fs_usage_bytes fs_writes_bytes_total fs_writes_total
  hugetlb_max_usage_bytes hugetlb_usage_bytes last_seen memory_cache memory_failcnt memory_failures_total
  memory_kernel_usage memory_mapped_file memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes
  memory_working_set_bytes network_receive_bytes_total network_receive_errors_total
  network_receive_packets_dropped_total network_receive_packets_total network_transmit_bytes_total
  network_transmit_errors_total network_transmit_packets_dropped_total network_transmit_packets_total oom_events_total
  pressure_cpu_stalled_seconds_total pressure_cpu_waiting_seconds_total pressure_io_stalled_seconds_total
  pressure_io_waiting_seconds_total pressure_memory_stalled_seconds_total pressure_memory_waiting_seconds_total
  processes sockets spec_cpu_period spec_cpu_quota spec_cpu_shares spec_memory_limit_bytes
  spec_memory_reservation_limit_bytes spec_memory_swap_limit_bytes start_time_seconds threads threads_max ulimits_soft`;

test('metrics have the names and labels that dashboards know, and what the kernel tells', async () => {
  const containerId = await runShared(['sh', '-c', 'dd if=/dev/zero of=/file bs=1M count=1; sleep 1000 & wait'], {
    linux: {
      resources: { cpuPeriod: 100_000n, cpuQuota: 20_000n, cpuShares: 512n, memoryLimitInBytes: 67_108_864n },
      securityContext: { namespaceOptions: { pid: NamespaceMode.POD } },
    },
  });
  const { descriptors } = await cri.listMetricDescriptors({});
  const expected = metricNames.trim().split(/\s+/);
  assert.deepEqual(descriptors.map(({ name }) => name.replace('container_', '')).sort(), expected.sort());
  await output(containerId, 'sync');
  const { podMetrics } = await cri.listPodSandboxMetrics({});
  const pod = podMetrics.find(({ containerMetrics }) =>
    containerMetrics.some((one) => one.containerId === containerId),
  )!;
  const { metrics } = pod.containerMetrics[0]!;
  const labelsOf = (metric: (typeof metrics)[number]): Record<string, string> => {
    const { labelKeys } = descriptors.find(({ name }) => name === metric.name)!;
    assert.equal(metric.labelValues.length, labelKeys.length, metric.name);
    return Object.fromEntries(labelKeys.map((key, index) => [key, metric.labelValues[index]!]));
  };
  for (const metric of [...metrics, ...pod.metrics]) labelsOf(metric);
  const find = (name: string) => metrics.find((one) => one.name === `container_${name}`);
  const { id, ...labels } = labelsOf(find('memory_usage_bytes')!);
  assert.ok(id!.endsWith(containerId));
  const podName = `pod${pods}`;
  const image = criImageNames.busybox;
  assert.deepEqual(labels, { container: 'main', name: containerId, image, namespace: 'default', pod: podName });
  const value = (name: string) => find(name)?.value?.value;
  assert.deepEqual(
    ['spec_cpu_quota', 'spec_cpu_period', 'spec_cpu_shares', 'spec_memory_limit_bytes', 'processes'].map(value),
    [20_000n, 100_000n, 512n, 67_108_864n, 2n],
  );
  assert.ok(value('fs_usage_bytes')! >= 1_048_576n);
  assert.match(labelsOf(find('fs_usage_bytes')!)['device']!, /^(\/dev\/|\d+:\d+)/);
  assert.ok(value('ulimits_soft')! > 0n && value('file_descriptors')! > 0n);
  // Where the kernel keeps account of pressure, so does this.
  assert.equal(value('pressure_cpu_waiting_seconds_total') !== undefined, await hasPressure(id!));
});

const hasPressure = async (cgroup: string): Promise<boolean> => {
  const roots = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];
  const found = await Promise.all(
    roots.map((root) => readFile(`${root}${cgroup}/cpu.pressure`).catch(() => undefined)),
  );
  return found.some((content) => content !== undefined);
};

/** Statistics and metrics: what pods and the node use, under the names that autoscalers and dashboards know. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { KubeletSuite } from '../../support/kubelet-suite.ts';

/** Metrics of /metrics that every kubelet has once a pod ran. */
const ownMetrics =
  `kubelet_node_name kubelet_running_pods kubelet_running_containers kubelet_desired_pods kubelet_active_pods
  kubelet_mirror_pods kubelet_working_pods kubelet_orphaned_runtime_pods_total kubelet_managed_ephemeral_containers
  kubelet_containers_per_pod_count_count kubelet_pod_worker_duration_seconds_bucket kubelet_pod_worker_start_duration_seconds_count
  kubelet_pod_start_duration_seconds_bucket kubelet_pod_start_sli_duration_seconds_bucket kubelet_pod_start_total_duration_seconds_sum
  kubelet_first_network_pod_start_sli_duration_seconds kubelet_pod_status_sync_duration_seconds_count kubelet_started_pods_total
  kubelet_started_pods_errors_total kubelet_started_containers_total kubelet_terminated_containers_total
  kubelet_runtime_operations_total kubelet_runtime_operations_duration_seconds_bucket kubelet_run_podsandbox_duration_seconds_count
  kubelet_pleg_relist_duration_seconds_bucket kubelet_pleg_last_seen_seconds kubelet_evented_pleg_connection_success_count
  kubelet_evented_pleg_connection_latency_seconds_count kubelet_cgroup_manager_duration_seconds_count kubelet_cgroup_version
  kubelet_http_requests_total kubelet_http_inflight_requests kubelet_http_requests_duration_seconds_count
  kubelet_container_log_filesystem_used_bytes kubelet_certificate_manager_server_ttl_seconds rest_client_requests_total
  rest_client_request_duration_seconds_count kubernetes_build_info process_cpu_seconds_total process_resident_memory_bytes
  process_virtual_memory_bytes process_open_fds process_max_fds process_start_time_seconds`.split(/\s+/);

/** Series of /metrics/cadvisor of a container. */
const containerMetrics =
  `container_cpu_usage_seconds_total container_cpu_user_seconds_total container_cpu_system_seconds_total
  container_cpu_cfs_periods_total container_cpu_cfs_throttled_periods_total container_cpu_cfs_throttled_seconds_total
  container_memory_usage_bytes container_memory_working_set_bytes container_memory_rss container_memory_cache container_memory_swap
  container_memory_max_usage_bytes container_memory_mapped_file container_memory_failcnt container_memory_failures_total
  container_oom_events_total container_fs_usage_bytes container_fs_limit_bytes container_fs_inodes_free container_processes
  container_threads container_threads_max container_file_descriptors container_sockets container_start_time_seconds container_last_seen
  container_spec_cpu_period container_spec_cpu_quota container_spec_cpu_shares container_spec_memory_limit_bytes`.split(
    /\s+/,
  );

describe('statistics of a node', { concurrency: 4 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let suite: KubeletSuite;

  before(async () => {
    cluster = await Cluster.withKubelet('kstats', { volumeStatsAggPeriod: '1s' });
    registry = await DemoRegistry.start(cluster.namespace);
    suite = new KubeletSuite(cluster, registry.image('v1'));
    const resources = { limits: { cpu: '200m', memory: '64Mi' }, requests: { cpu: '100m', memory: '32Mi' } };
    const work =
      'dd if=/dev/zero of=/data/file bs=1M count=5; dd if=/dev/zero of=/layer bs=1M count=3; while true; do :; done';
    await suite.apply(
      suite.pod('busy', {
        volumes: [{ name: 'data', emptyDir: {} }],
        mounts: [{ name: 'data', mountPath: '/data' }],
        container: { command: ['sh', '-c', work], resources },
      }),
      suite.pod('idle', {}),
      suite.pod('host', { spec: { hostNetwork: true } }),
      suite.pod('ends', { container: { command: ['true'] }, spec: { restartPolicy: 'Never' } }),
    );
    await suite.ready('busy', 'idle', 'host');
    await suite.sh('idle', 'wget -q -O /dev/null -T 1 http://127.0.0.1:1/ || ping -c 2 -W 1 $(hostname -i) || true');
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const read = (path: string) => cluster.kubectl(['get', '--raw', `/api/v1/nodes/node-1/proxy/${path}`]);
  const summary = async (query = ''): Promise<any> => JSON.parse(await read(`stats/summary${query}`));
  const podOf = (all: any, name: string) => all.pods.find(({ podRef }: any) => podRef.name === name);
  /** The value of the first series with all these texts in its labels. */
  function seriesOf(text: string, name: string, ...labels: string[]): number | undefined {
    const line = text
      .split('\n')
      .find((one) => one.startsWith(`${name}{`) && labels.every((label) => one.includes(label)));
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf('}') + 2).split(' ')[0]);
  }

  test('the summary tells what the node uses', async () => {
    const { node } = await summary();
    assert.equal(node.nodeName, 'node-1');
    assert.ok(node.cpu.usageNanoCores > 0, 'a rate, also at the first look');
    assert.ok(node.memory.workingSetBytes > 0 && node.memory.availableBytes > 0 && node.memory.rssBytes > 0);
    assert.ok(node.fs.capacityBytes > node.fs.usedBytes && node.fs.inodesFree > 0);
    assert.ok(node.runtime.imageFs.usedBytes > 0 && node.runtime.containerFs.capacityBytes > 0);
    assert.ok(node.rlimit.maxpid > node.rlimit.curproc && node.rlimit.curproc > 0);
    assert.ok('swapUsageBytes' in node.swap);
    assert.deepEqual(
      node.systemContainers.map(({ name }: any) => name),
      ['kubelet', 'pods'],
    );
    assert.ok(Date.parse(node.startTime) < Date.now() - 10_000);
  });

  test('the summary tells what pods use: processors, memory, network, disks', async () => {
    const busy = await pollUntil(
      'files that are written',
      async () => {
        const pod = podOf(await summary(), 'busy');
        return pod['ephemeral-storage'].usedBytes > 8e6 && pod.containers[0].cpu.usageNanoCores > 1e8 ? pod : undefined;
      },
      { timeoutMs: 40_000, intervalMs: 500 },
    );
    const [main] = busy.containers;
    assert.ok(main.cpu.usageNanoCores < 4e8, `it is held to 200m: ${main.cpu.usageNanoCores}`);
    assert.ok(main.memory.workingSetBytes > 0 && main.memory.availableBytes < 64 * 2 ** 20);
    assert.ok(main.rootfs.usedBytes >= 3e6 && main.rootfs.usedBytes < 20e6, String(main.rootfs.usedBytes));
    assert.ok(main.logs.inodesUsed >= 1);
    const [volume] = busy.volume.filter(({ name }: any) => name === 'data');
    assert.ok(volume.usedBytes >= 5e6 && volume.usedBytes < 8e6, String(volume.usedBytes));
    assert.ok(busy.process_stats.process_count >= 1);
    assert.ok(busy.network.interfaces.length >= 1 && busy.network.name === 'eth0');
    const all = await summary();
    assert.equal(podOf(all, 'host').network, undefined, 'the network of the node is not its own');
    assert.equal(podOf(all, 'ends'), undefined);
  });

  test('only_cpu_and_memory leaves out what takes longer', async () => {
    const { node, pods } = await summary('?only_cpu_and_memory=true');
    assert.ok(node.cpu && node.memory && !node.fs && !node.network && !node.runtime);
    for (const pod of pods)
      assert.ok(pod.containers[0].memory && !pod.volume && !pod.containers[0].rootfs && !pod.network);
  });

  test('resource metrics: what the metrics server reads', async () => {
    const text = await read('metrics/resource');
    const busy = ['container="main"', 'namespace="default"', 'pod="busy"'];
    assert.ok(seriesOf(text, 'container_cpu_usage_seconds_total', ...busy)! > 0);
    assert.ok(seriesOf(text, 'container_memory_working_set_bytes', ...busy)! > 0);
    assert.ok(seriesOf(text, 'container_start_time_seconds', ...busy)! > 1.7e9);
    assert.ok(seriesOf(text, 'pod_cpu_usage_seconds_total', 'pod="idle"')! >= 0);
    assert.ok(seriesOf(text, 'pod_memory_working_set_bytes', 'pod="idle"')! > 0);
    for (const name of ['node_cpu_usage_seconds_total', 'node_memory_working_set_bytes', 'node_swap_usage_bytes'])
      assert.match(text, new RegExp(`^${name} [\\d.e+]+ \\d{13}$`, 'm'));
    assert.match(text, /^resource_scrape_error 0$/m);
  });

  test('cAdvisor metrics: every series with the labels of cAdvisor', async () => {
    const text = await pollUntil(
      'the layer of the container',
      async () => {
        const now = await read('metrics/cadvisor');
        return seriesOf(now, 'container_fs_usage_bytes', 'pod="busy"') ? now : undefined;
      },
      { timeoutMs: 30_000, intervalMs: 1000 },
    );
    for (const name of containerMetrics)
      assert.notEqual(seriesOf(text, name, 'container="main"', 'pod="busy"', 'namespace="default"'), undefined, name);
    const line = text
      .split('\n')
      .find((one) => one.startsWith('container_memory_rss{container="main"') && one.includes('pod="busy"'))!;
    assert.match(
      line,
      /^container_memory_rss\{container="main",id="\/[^"]*pod[^"]*\/[^"]*",image="[^"]+demo\/web[^"]*",name="[0-9a-f]{64}",namespace="default",pod="busy"\} \d+ \d{13}$/,
    );
    assert.equal(seriesOf(text, 'container_spec_memory_limit_bytes', 'container="main"', 'pod="busy"'), 64 * 2 ** 20);
    assert.equal(seriesOf(text, 'container_spec_cpu_quota', 'container="main"', 'pod="busy"'), 20_000);
    assert.ok(
      seriesOf(text, 'container_network_receive_bytes_total', 'container=""', 'interface="eth0"', 'pod="idle"') !==
        undefined,
    );
    assert.ok(
      seriesOf(text, 'container_memory_usage_bytes', 'id="/kubepods"')! > 0 || /id="\/[^"]*kubepods"/.test(text),
    );
    assert.ok(seriesOf(text, 'machine_memory_bytes', 'machine_id=')! > 0);
    assert.ok(seriesOf(text, 'machine_cpu_cores', 'machine_id=')! > 0);
    assert.match(text, /^container_scrape_error 0$/m);
  });

  test('metrics of the kubelet, by the names of upstream', async () => {
    const text = await pollUntil(
      'all of them',
      async () => {
        const now = await read('metrics');
        return ownMetrics.every((name) => new RegExp(`^${name}[{ ]`, 'm').test(now)) ? now : undefined;
      },
      { timeoutMs: 20_000, intervalMs: 1000 },
    ).catch(async () => {
      const now = await read('metrics');
      throw new Error(`missing: ${ownMetrics.filter((name) => !new RegExp(`^${name}[{ ]`, 'm').test(now)).join(' ')}`);
    });
    assert.ok(seriesOf(text, 'kubelet_running_containers', 'container_state="running"')! >= 3);
    assert.ok(seriesOf(text, 'kubelet_runtime_operations_total', 'operation_type="run_podsandbox"')! >= 4);
    assert.ok(seriesOf(text, 'kubelet_terminated_containers_total', 'exit_code="0"')! >= 1);
    assert.match(text, /^kubelet_pod_start_sli_duration_seconds_bucket\{le="\+Inf"\} [1-9]/m);
    assert.match(text, /^kubelet_node_name\{node="node-1"\} 1$/m);
    for (const block of text.split('# HELP ').slice(1))
      assert.match(block, /^\w+ .+\n# TYPE \w+ (counter|gauge|histogram)\n\w/);
  });
});

/**
 * A node that runs short, and pods that use more local storage than they may. The kubelet's directory is a small file system
 * of its own, so that nothing of the machine is filled; thresholds are set so that the machine crosses them as it is.
 */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { PodSpec } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { conditionOf, PodDriver } from '../../support/pod-driver.ts';
import { run } from '../../support/processes.ts';

/** A cluster whose kubelet keeps its files in a file system of so many mebibytes. */
class SmallDiskCluster implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly #mountpoint: string;
  constructor(cluster: Cluster, mountpoint: string) {
    this.cluster = cluster;
    this.#mountpoint = mountpoint;
  }
  static async start(purpose: string, mebibytes: number, fields: object): Promise<SmallDiskCluster> {
    const cluster = await Cluster.create(purpose);
    const mountpoint = join(cluster.dataDirectory, 'kubelet');
    await mkdir(mountpoint, { recursive: true });
    const { status, stderr } = await run(['mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', mountpoint]);
    assert.equal(status, 0, stderr);
    const small = new SmallDiskCluster(cluster, mountpoint);
    try {
      await cluster.up(['--place', 'kubelet=process', ...(await cluster.kubeletConfig(fields))]);
    } catch (error) {
      await small[Symbol.asyncDispose]();
      throw error;
    }
    return small;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.deckhand(['down', '--data-dir', this.cluster.dataDirectory]);
    await run(['umount', '-l', this.#mountpoint]);
    await this.cluster[Symbol.asyncDispose]();
  }
}

const fill = (path: string, mebibytes: number) =>
  `trap "exit 0" TERM; dd if=/dev/zero of=${path} bs=1M count=${mebibytes} 2>/dev/null; touch /tmp/full; sleep 3600 & wait`;
const cache = (emptyDir: object = {}) => ({ volumes: [{ name: 'cache', emptyDir }] });
const volumeMounts = [{ name: 'cache', mountPath: '/cache' }];

describe('eviction', { concurrency: 2 }, () => {
  // One after the other: a process can look into one cluster at a time.
  describe('disks', { concurrency: 1 }, () => {
    describe('a node whose disk fills up', () => {
      let small: SmallDiskCluster;
      let registry: DemoRegistry;
      let pods: PodDriver;

      before(async () => {
        small = await SmallDiskCluster.start('kevictdisk', 64, {
          evictionHard: { 'nodefs.available': '50%', 'memory.available': '1Mi' },
          evictionMinimumReclaim: { 'nodefs.available': '5%' },
          evictionPressureTransitionPeriod: '2s',
          volumeStatsAggPeriod: '1s',
        });
        registry = await DemoRegistry.start(small.cluster.namespace);
        pods = await PodDriver.start(small.cluster, registry.image('v1'));
      });
      after(async () => {
        await pods?.stop();
        await registry?.[Symbol.asyncDispose]();
        await small?.[Symbol.asyncDispose]();
      });

      const node = () => small.cluster.get('node', 'node-1');
      const underPressure = async (): Promise<boolean> => {
        const { status } = await node();
        return status.conditions.find(({ type }: { type: string }) => type === 'DiskPressure')?.status === 'True';
      };
      const untilPressure = (wanted: boolean) =>
        pollUntil(`DiskPressure ${wanted}`, async () => (await underPressure()) === wanted || undefined, {
          ...{ timeoutMs: 30_000, intervalMs: 100 },
        });

      test('evicts the pod that takes the most, keeps others off meanwhile, and recovers', async () => {
        await pods.create('modest', {
          ...cache(),
          containers: [pods.container({ script: fill('/cache/x', 4), volumeMounts })],
        } as Partial<PodSpec>);
        // Critical, and the largest of all.
        await pods.create('critical', {
          ...cache(),
          priorityClassName: 'system-node-critical',
          containers: [pods.container({ script: fill('/cache/x', 14), volumeMounts })],
        } as Partial<PodSpec>);
        await Promise.all(['modest', 'critical'].map((name) => pods.untilReady(name)));
        await pods.create('greedy', {
          ...cache(),
          containers: [pods.container({ script: fill('/cache/x', 18), volumeMounts })],
        } as Partial<PodSpec>);
        const evicted = await pods.until('evicted', 'greedy', ({ status }) => status?.phase === 'Failed');
        assert.equal(evicted.status?.reason, 'Evicted');
        assert.match(
          evicted.status!.message!,
          /^The node was low on resource: ephemeral-storage\. Threshold quantity: 32Mi, available: \d+[KM]i\. /,
        );
        const disruption = conditionOf(evicted, 'DisruptionTarget');
        assert.deepEqual([disruption?.status, disruption?.reason], ['True', 'TerminationByKubelet']);
        await pods.untilEvent('greedy', 'Evicted', /^The node was low on resource: ephemeral-storage/);
        await untilPressure(true);
        const { spec, status } = await node();
        const condition = status.conditions.find(({ type }: { type: string }) => type === 'DiskPressure');
        assert.deepEqual(
          [condition.reason, condition.message],
          ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
        );
        assert.ok(
          spec.taints?.some(({ key }: { key: string }) => key === 'node.kubernetes.io/disk-pressure') ||
            (await tainted()),
        );
        const metrics = await small.cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/metrics']);
        assert.match(metrics, /kubelet_evictions\{eviction_signal="nodefs\.available"\} [1-9]/);
        await untilPressure(false);
        for (const name of ['modest', 'critical']) assert.equal(pods.get(name)?.status?.phase, 'Running', name);
        const events = await small.cluster.kubectl([
          'get',
          'events',
          '-A',
          '-o',
          'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}',
        ]);
        assert.match(events, /EvictionThresholdMet: Attempting to reclaim ephemeral-storage/);
        assert.match(events, /NodeHasDiskPressure: Node node-1 status is now: NodeHasDiskPressure/);
        await Promise.all(['modest', 'critical', 'greedy'].map((name) => pods.remove(name)));
      });

      const tainted = () =>
        pollUntil(
          'a taint',
          async () => (await node()).spec.taints?.some(({ key }: { key: string }) => key.endsWith('/disk-pressure')),
          {
            ...{ timeoutMs: 10_000, intervalMs: 100 },
          },
        );
    });

    describe('limits of local storage', { concurrency: 8 }, () => {
      let small: SmallDiskCluster;
      let registry: DemoRegistry;
      let pods: PodDriver;

      before(async () => {
        small = await SmallDiskCluster.start('kevictlimits', 128, { volumeStatsAggPeriod: '1s' });
        registry = await DemoRegistry.start(small.cluster.namespace);
        pods = await PodDriver.start(small.cluster, registry.image('v1'));
      });
      after(async () => {
        await pods?.stop();
        await registry?.[Symbol.asyncDispose]();
        await small?.[Symbol.asyncDispose]();
      });

      const evicted = async (name: string, spec: Partial<PodSpec>, message: RegExp): Promise<void> => {
        await pods.create(name, spec);
        const { status } = await pods.until('evicted', name, (pod) => pod.status?.phase === 'Failed');
        assert.equal(status?.reason, 'Evicted');
        assert.match(status!.message!, message);
        // The pod's own doing: nobody disrupted it.
        assert.equal(
          status?.conditions?.some(({ type }) => type === 'DisruptionTarget'),
          false,
        );
      };
      const limited = (limit: string, script: string, more: object = {}) =>
        pods.container({ script, resources: { limits: { 'ephemeral-storage': limit } }, ...more });

      test('a pod is evicted when an emptyDir is fuller than its sizeLimit', () =>
        evicted(
          'sizelimit',
          {
            ...cache({ sizeLimit: '2Mi' }),
            containers: [pods.container({ script: fill('/cache/x', 4), volumeMounts })],
          } as Partial<PodSpec>,
          /^Usage of EmptyDir volume "cache" exceeds the limit "2Mi"\. /,
        ));

      test('a pod is evicted when its containers, logs and emptyDirs together are over their limits', () =>
        evicted(
          'podlimit',
          { ...cache(), containers: [limited('3Mi', fill('/cache/x', 5), { volumeMounts })] } as Partial<PodSpec>,
          /^Pod ephemeral local storage usage exceeds the total limit of containers 3Mi\. /,
        ));

      test('a pod is evicted when the logs of one container are over its limit, though the pod as a whole is not', () =>
        evicted(
          'containerlimit',
          {
            containers: [
              limited(
                '1Mi',
                'trap "exit 0" TERM; i=0; while [ $i -lt 3000 ]; do printf "%01000d\\n" $i; i=$((i+1)); done; sleep 3600 & wait',
              ),
              { ...limited('16Mi', 'trap "exit 0" TERM; sleep 3600 & wait'), name: 'other' },
            ],
          } as Partial<PodSpec>,
          /^Container main exceeded its local ephemeral storage limit "1Mi"\. /,
        ));

      test('a pod within its limits stays, and so does one whose memory-backed emptyDir is on no disk', async () => {
        await pods.create('within', {
          ...cache({ medium: 'Memory' }),
          containers: [limited('4Mi', fill('/cache/x', 8), { volumeMounts })],
        } as Partial<PodSpec>);
        await pods.untilReady('within');
        await pods.until('the evictions of others', 'sizelimit', ({ status }) => status?.phase === 'Failed');
        assert.equal(pods.get('within')?.status?.phase, 'Running');
      });
    });
  });

  describe('a node that is short of memory', () => {
    test('keeps best-effort pods off, takes burstable ones, and evicts those that use more than they asked for', async () => {
      // More than any machine has: short from the start. The soft threshold makes the condition, and never evicts.
      await using cluster = await Cluster.withKubelet('kevictmemory', {
        evictionHard: { 'memory.available': '0%', 'nodefs.available': '0%', 'imagefs.available': '0%' },
        evictionSoft: { 'memory.available': '900Ti', 'allocatableMemory.available': '900Ti' },
        evictionSoftGracePeriod: { 'memory.available': '1h', 'allocatableMemory.available': '8s' },
        evictionMaxPodGracePeriod: 1,
      });
      await using registry = await DemoRegistry.start(cluster.namespace);
      await pollUntil(
        'MemoryPressure',
        async () => {
          const { status } = await cluster.get('node', 'node-1');
          return status.conditions.some(
            ({ type, reason }: { type: string; reason: string }) =>
              type === 'MemoryPressure' && reason === 'KubeletHasInsufficientMemory',
          );
        },
        { timeoutMs: 30_000, intervalMs: 100 },
      );
      const base = (name: string, spec: object, container: object = {}) => ({
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
        spec: {
          nodeName: 'node-1',
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'main',
              image: registry.image('v1'),
              command: ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'],
              ...container,
            },
          ],
          ...spec,
        },
      });
      const asking = { resources: { requests: { memory: '8Ki' } } };
      const manifests = [
        base('besteffort', {}),
        base('burstable', {}, asking),
        base('kept', { priorityClassName: 'system-node-critical' }),
      ];
      await cluster.kubectl(['apply', '-f', '-'], { input: manifests.map((one) => JSON.stringify(one)).join('\n') });
      const failed = (name: string) =>
        pollUntil(
          `${name} Failed`,
          async () => {
            const { status } = await cluster.get('pod', name);
            return status.phase === 'Failed' ? status : undefined;
          },
          { timeoutMs: 40_000, intervalMs: 100 },
        );
      const refused = await failed('besteffort');
      assert.deepEqual(
        [refused.reason, refused.message],
        ['Evicted', 'Pod was rejected: The node had condition: [MemoryPressure]. '],
      );
      const evicted = await failed('burstable');
      // A busy machine may not have come to run it: then there are no containers to tell of.
      assert.match(
        evicted.message,
        /^The node was low on resource: memory\. Threshold quantity: 900Ti, available: \w+\. (Container main was using \w+, request is 8Ki, has larger consumption of memory\. )?$/,
      );
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/kept', '--timeout=30s']);
    });
  });
});

/** The cgroups of pods and of their classes, what is kept from pods, and what containers find in theirs. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Pod, PodSpec, ResourceRequirements } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { openCgroups, removeCgroupTree } from '../../../src/host/cgroups/index.ts';
import { cgroupRoot } from '../../../src/node/arguments.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { containerOf, PodDriver } from '../../support/pod-driver.ts';
import { SuiteNode } from '../../support/suite-node.ts';

/** Clusters at a time: one in a second kernel, which is slow. */
const beside = process.env['CLUSTER_OPTIONS'] === undefined ? 2 : 1;
const mebibyte = 2 ** 20;
const tree = openCgroups();

describe('quality of service and configuration', { concurrency: beside }, () => {
  describe('quality of service', { concurrency: 8 }, () => {
    let node: SuiteNode;
    let cluster: Cluster;
    let registry: DemoRegistry;
    let pods: PodDriver;
    let root: string;
    const reserved = `/deckhand-test-reserved-${process.pid}`;

    before(async () => {
      tree.create(reserved);
      node = await SuiteNode.start('kqos', () => ({
        podPidsLimit: 40,
        systemReserved: { cpu: '200m', memory: '256Mi', 'ephemeral-storage': '1Gi', pid: '1000' },
        kubeReserved: { cpu: '100m', memory: '128Mi' },
        systemReservedCgroup: reserved,
        enforceNodeAllocatable: ['pods', 'system-reserved'],
        evictionHard: { 'memory.available': '200Mi', 'nodefs.available': '1Mi' },
        qosReserved: { memory: '50%' },
      }));
      cluster = node.cluster;
      registry = await DemoRegistry.start(cluster.namespace);
      pods = await PodDriver.start(cluster, registry.image('v1'));
      root = cgroupRoot(cluster.dataDirectory);
    });
    after(async () => {
      await pods?.stop();
      await registry?.[Symbol.asyncDispose]();
      await node?.[Symbol.asyncDispose]();
      await removeCgroupTree(reserved);
    });

    const create = (name: string, resources: ResourceRequirements, more: object = {}) =>
      pods.create(name, { containers: [pods.container({ resources })], ...more } as Partial<PodSpec>);
    const cgroup = (path: string) => {
      assert.ok(tree.exists(path), `there is no cgroup ${path}`);
      return { ...tree.usage(path)!, ...tree.details(path)! };
    };
    const podCgroup = ({ metadata }: Pod, qos: string) => cgroup(`${root}/kubepods${qos}/pod${metadata.uid}`);
    const score = async (name: string) => Number(await pods.exec(name, ['cat', '/proc/1/oom_score_adj']));
    const shares = (value: bigint, wanted: number) =>
      // Weights of cgroup v2 are coarse.
      assert.ok(Math.abs(Number(value) - wanted) <= Math.max(27, wanted * 0.03), `${value} shares, not ${wanted}`);

    test('each class has its place, its limits and its score when memory runs out', async () => {
      const whole = { cpu: '100m', memory: '64Mi' };
      await create('guaranteed', { requests: whole, limits: whole });
      await create('burstable', { requests: { cpu: '50m', memory: '32Mi' }, limits: { memory: '96Mi' } });
      await create('besteffort', {});
      const [guaranteed, burstable, bestEffort] = (await Promise.all(
        ['guaranteed', 'burstable', 'besteffort'].map((name) => pods.untilReady(name)),
      )) as [Pod, Pod, Pod];
      assert.deepEqual(
        [guaranteed, burstable, bestEffort].map(({ status }) => status?.qosClass),
        ['Guaranteed', 'Burstable', 'BestEffort'],
      );
      const first = podCgroup(guaranteed, '');
      assert.equal(Number(first.memoryLimitBytes), 64 * mebibyte);
      assert.equal(Number(first.cpuQuotaUs), 10_000);
      shares(first.cpuShares, 102);
      const second = podCgroup(burstable, '/burstable');
      assert.equal(Number(second.memoryLimitBytes), 96 * mebibyte);
      assert.equal(second.cpuQuotaUs, undefined);
      const third = podCgroup(bestEffort, '/besteffort');
      assert.equal(third.memoryLimitBytes, undefined);
      shares(third.cpuShares, 2);
      for (const one of [first, second, third]) assert.equal(Number(one.processLimit), 40);
      // What the account may not lower stays as it is: the order is what counts.
      const scores = await Promise.all(['guaranteed', 'burstable', 'besteffort'].map(score));
      assert.ok(scores[0]! < scores[1]! && scores[1]! < scores[2]!, String(scores));
      assert.equal(scores[2], 1000);
      await Promise.all(['guaranteed', 'burstable', 'besteffort'].map((name) => pods.remove(name)));
      assert.equal(tree.exists(`${root}/kubepods/pod${guaranteed.metadata.uid}`), false);
    });

    test('burstable pods together weigh what they ask for together, and memory is kept from the classes below', async () => {
      const memory = '128Mi';
      await create('kept', { requests: { cpu: '100m', memory }, limits: { cpu: '100m', memory } });
      await create('heavy', { requests: { cpu: '300m', memory: '64Mi' } });
      await Promise.all(['kept', 'heavy'].map((name) => pods.untilReady(name)));
      await pollUntil('the weight of the class', () => Number(cgroup(`${root}/kubepods/burstable`).cpuShares) >= 290, {
        timeoutMs: 10_000,
      });
      const all = Number(cgroup(`${root}/kubepods`).memoryLimitBytes);
      const [burstable, bestEffort] = ['burstable', 'besteffort'].map((name) =>
        Number(cgroup(`${root}/kubepods/${name}`).memoryLimitBytes),
      ) as [number, number];
      // Half of what the class above asks for (others of this suite come and go).
      assert.ok(all - burstable >= 64 * mebibyte, `${all - burstable}`);
      assert.ok(burstable - bestEffort >= 32 * mebibyte, `${burstable - bestEffort}`);
      await Promise.all(['kept', 'heavy'].map((name) => pods.remove(name)));
    });

    test('allocatable is capacity less what is reserved and the hard thresholds; the cgroups are held to it', async () => {
      const { capacity, allocatable } = (await cluster.get('node', 'node-1')).status;
      const bytes = (text: string) => Number.parseInt(text, 10) * (text.endsWith('Ki') ? 1024 : 1);
      const milli = (text: string) => (text.endsWith('m') ? Number.parseInt(text, 10) : Number(text) * 1000);
      assert.equal(milli(capacity.cpu) - milli(allocatable.cpu), 300);
      assert.equal(bytes(capacity.memory) - bytes(allocatable.memory), (256 + 128 + 200) * mebibyte);
      assert.equal(bytes(capacity['ephemeral-storage']) - bytes(allocatable['ephemeral-storage']), 1025 * mebibyte);
      const pool = cgroup(`${root}/kubepods`);
      const limit = bytes(capacity.memory) - (256 + 128) * mebibyte;
      assert.ok(Math.abs(Number(pool.memoryLimitBytes) - limit) <= 8192, `${pool.memoryLimitBytes}, not ${limit}`);
      shares(pool.cpuShares, ((milli(capacity.cpu) - 300) * 1024) / 1000);
      const system = cgroup(reserved);
      assert.equal(Number(system.memoryLimitBytes), 256 * mebibyte);
      assert.equal(Number(system.processLimit), 1000);
      const events = await cluster.kubectl([
        'get',
        'events',
        '-A',
        '-o',
        'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}',
      ]);
      assert.match(events, /NodeAllocatableEnforced: Updated Node Allocatable limit across pods/);
      assert.match(events, /NodeAllocatableEnforced: Updated limits on system reserved cgroup/);
    });

    test('a pod may not have more processes than podPidsLimit, whatever it tries', async () => {
      await create('forks', {});
      await pods.untilReady('forks');
      const script = 'i=0; while [ $i -lt 60 ]; do sleep 60 </dev/null >/dev/null 2>&1 & i=$((i+1)); done; echo all';
      const output = await pods
        .exec('forks', ['sh', '-c', `${script} 2>&1 || true; true`])
        .catch((error: Error) => error.message);
      assert.match(output, /fork|Resource temporarily unavailable|exit code/);
      await pods.remove('forks', 1);
    });

    test('one that asks for nothing is OOMKilled before those within their requests', async () => {
      const script = 'exec tail /dev/zero';
      await create('within', { requests: { memory: '64Mi' }, limits: { memory: '64Mi' } });
      await pods.untilReady('within');
      await pods.create('hungry', {
        restartPolicy: 'Never',
        containers: [pods.container({ script, resources: { limits: { memory: '24Mi' } } })],
      } as Partial<PodSpec>);
      const pod = await pods.until('killed', 'hungry', ({ status }) => status?.phase === 'Failed');
      assert.equal(containerOf(pod)?.state?.terminated?.reason, 'OOMKilled');
      assert.equal(containerOf(pods.get('within'))?.restartCount, 0);
      await Promise.all(['within', 'hungry'].map((name) => pods.remove(name)));
    });
  });

  describe('a configuration that cannot be enforced', { concurrency: beside }, () => {
    test('keeps the kubelet from starting, and says what is missing', async () => {
      await using cluster = await Cluster.create('kqosbad');
      const fields = { enforceNodeAllocatable: ['pods', 'kube-reserved'], kubeReserved: { cpu: '100m' } };
      await assert.rejects(
        cluster.up(['--place', 'kubelet=process', ...(await cluster.kubeletConfig(fields))]),
        /kubeReservedCgroup: must be set when kube-reserved is enforced/,
      );
      const missing = { ...fields, kubeReservedCgroup: '/deckhand-no-such-cgroup' };
      await assert.rejects(
        cluster.up(['--place', 'kubelet=process', ...(await cluster.kubeletConfig(missing))]),
        /cgroup does not exist/,
      );
    });

    test('without cgroups by class containers are below the root, and no pod has a cgroup of its own', async () => {
      const fields = { cgroupsPerQOS: false, enforceNodeAllocatable: ['none'] };
      await using cluster = await Cluster.withKubelet('kqosflat', fields);
      await using registry = await DemoRegistry.start(cluster.namespace);
      const containers = [
        { name: 'main', image: registry.image('v1'), command: ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'] },
      ];
      const spec = { terminationGracePeriodSeconds: 1, containers };
      await cluster.kubectl(['apply', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'flat' }, spec }),
      });
      await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', 'pod/flat']);
      const root = cgroupRoot(cluster.dataDirectory);
      assert.equal(tree.exists(`${root}/kubepods`), false);
      assert.ok(tree.processes(root).length > 0);
      await cluster.kubectl(['delete', 'pod', 'flat', '--timeout=60s']);
    });
  });
});

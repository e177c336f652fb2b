/** Pods that are resized while they run, with real cgroups: what is granted, put into force, told, and kept over a kill. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Pod, type PodSpec, type ResourceRequirements, resources } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { openCgroups } from '../../../src/host/cgroups/index.ts';
import { cgroupRoot } from '../../../src/node/arguments.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { conditionOf, containerOf, PodDriver } from '../../support/pod-driver.ts';
import { SuiteNode } from '../../support/suite-node.ts';

/** Clusters at a time: one in a second kernel, which is slow. */
const beside = process.env['CLUSTER_OPTIONS'] === undefined ? 2 : 1;
const mebibyte = 2 ** 20;

describe('resizes', { concurrency: beside }, () => {
  describe('the resize of a pod', { concurrency: 8 }, () => {
    let node: SuiteNode;
    let cluster: Cluster;
    let registry: DemoRegistry;
    let pods: PodDriver;

    before(async () => {
      // Room for the pods of all behaviours but one that asks for most of the node.
      node = await SuiteNode.start('kresize', () => ({ systemReserved: { cpu: '100m' } }));
      cluster = node.cluster;
      registry = await DemoRegistry.start(cluster.namespace);
      pods = await PodDriver.start(cluster, registry.image('v1'));
    });
    after(async () => {
      await pods?.stop();
      await registry?.[Symbol.asyncDispose]();
      await node?.[Symbol.asyncDispose]();
    });

    const sized = (given: ResourceRequirements, changes: Parameters<PodDriver['container']>[0] = {}) =>
      pods.container({ ...changes, resources: given });
    const resize = (name: string, spec: object): Promise<Pod> =>
      pods.client.patch(
        resources.pods,
        name,
        { spec },
        { namespace: 'default', type: 'strategic', subresource: 'resize' },
      );
    const one = (given: ResourceRequirements, name = 'main') => ({ containers: [{ name, resources: given }] });
    const isSettled = (pod: Pod) =>
      pod.status?.observedGeneration === pod.metadata.generation &&
      !conditionOf(pod, 'PodResizeInProgress') &&
      !conditionOf(pod, 'PodResizePending');
    /** The limits of the pod's cgroup and of those of its containers, as the kernel has them. */
    const cgroupOf = (pod: Pod) => {
      const tree = openCgroups();
      const parent = cgroupRoot(cluster.dataDirectory);
      const path = ['', '/burstable', '/besteffort']
        .map((qos) => `${parent}/kubepods${qos}/pod${pod.metadata.uid}`)
        .find((each) => tree.exists(each));
      assert.ok(path, 'the pod has no cgroup');
      const [usage, details] = [tree.usage(path)!, tree.details(path)!];
      return {
        memory: Number(usage.memoryLimitBytes ?? -1),
        quota: Number(details.cpuQuotaUs ?? -1),
        shares: Number(details.cpuShares),
      };
    };
    const restarts = (pod: Pod) => containerOf(pod)?.restartCount;

    test('grows and shrinks a container in place: cgroups, status, conditions and events', async () => {
      const small = { requests: { cpu: '50m', memory: '32Mi' }, limits: { cpu: '100m', memory: '64Mi' } };
      const large = { requests: { cpu: '100m', memory: '48Mi' }, limits: { cpu: '200m', memory: '128Mi' } };
      await pods.create('inplace', { containers: [sized(small)] } as Partial<PodSpec>);
      const first = await pods.untilReady('inplace');
      assert.deepEqual(containerOf(first)?.resources, small);
      assert.deepEqual(containerOf(first)?.allocatedResources, small.requests);
      assert.deepEqual(cgroupOf(first).memory, 64 * mebibyte);
      await resize('inplace', one(large));
      const grown = await pods.until(
        'grown',
        'inplace',
        (pod) => containerOf(pod)?.resources?.limits?.['memory'] === '128Mi' && isSettled(pod),
      );
      assert.deepEqual(containerOf(grown)?.resources, large);
      assert.deepEqual(containerOf(grown)?.allocatedResources, large.requests);
      assert.deepEqual(grown.status?.allocatedResources, { cpu: '100m', memory: '48Mi' });
      const { memory, quota } = cgroupOf(grown);
      assert.deepEqual([memory, quota], [128 * mebibyte, 20_000]);
      assert.equal(await memoryLimitInside('inplace'), 128 * mebibyte);
      await resize('inplace', one(small));
      const shrunk = await pods.until(
        'shrunk',
        'inplace',
        (pod) => containerOf(pod)?.resources?.limits?.['memory'] === '64Mi' && isSettled(pod),
      );
      assert.equal(cgroupOf(shrunk).memory, 64 * mebibyte);
      assert.equal(restarts(shrunk), 0);
      assert.equal(containerOf(shrunk)?.containerID, containerOf(first)?.containerID);
      const started = await pods.untilEvent('inplace', 'ResizeStarted');
      assert.match(
        started.message,
        /^Pod resize started: \{"containers":\[\{"name":"main","resources":\{.*"generation":2\}$/,
      );
      await pods.untilEvent('inplace', 'ResizeCompleted', /"generation":3/);
      await pods.remove('inplace');
    });

    const memoryLimitInside = async (name: string): Promise<number> => {
      const files = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'];
      return Number(await pods.exec(name, ['sh', '-c', `cat ${files.join(' ')} 2>/dev/null; true`]));
    };

    test('restarts a container whose policy says so, and only for the resource for which it says so', async () => {
      const given = { requests: { cpu: '50m', memory: '32Mi' }, limits: { cpu: '100m', memory: '64Mi' } };
      const resizePolicy = [
        { resourceName: 'cpu', restartPolicy: 'NotRequired' },
        { resourceName: 'memory', restartPolicy: 'RestartContainer' },
      ];
      await pods.create('policy', { containers: [sized(given, { resizePolicy })] } as Partial<PodSpec>);
      await pods.untilReady('policy');
      await resize('policy', one({ limits: { cpu: '150m' } }));
      const faster = await pods.until(
        'faster',
        'policy',
        (pod) => containerOf(pod)?.resources?.limits?.['cpu'] === '150m' && isSettled(pod),
      );
      assert.equal(restarts(faster), 0);
      await resize('policy', one({ limits: { memory: '96Mi' } }));
      const bigger = await pods.until(
        'bigger',
        'policy',
        (pod) => restarts(pod) === 1 && isSettled(pod) && containerOf(pod)?.ready,
      );
      assert.equal(containerOf(bigger)?.resources?.limits?.['memory'], '96Mi');
      assert.equal(cgroupOf(bigger).memory, 96 * mebibyte);
      await pods.untilEvent('policy', 'Killing', /Container main resize requires restart/);
      await pods.remove('policy');
    });

    test('a pod that is resized before its containers run has the room that they need', async () => {
      const given = { requests: { memory: '16Mi' }, limits: { memory: '32Mi' } };
      await pods.create('early', {
        initContainers: [
          sized(given, {
            name: 'init',
            script: 'while [ ! -e /go/on ]; do sleep 0.1; done',
            volumeMounts: [{ name: 'go', mountPath: '/go' }],
          }),
        ],
        containers: [sized(given)],
        volumes: [{ name: 'go', emptyDir: {} }],
      } as Partial<PodSpec>);
      await pods.until('init runs', 'early', (pod) => containerOf(pod, 'init')?.state?.running);
      await resize('early', one({ requests: { memory: '48Mi' }, limits: { memory: '96Mi' } }));
      const granted = await pods.until(
        'granted',
        'early',
        (pod) => pod.status?.allocatedResources?.['memory'] === '48Mi',
      );
      await pollUntil('the cgroup has grown', () => cgroupOf(granted).memory === 96 * mebibyte, {
        timeoutMs: 20_000,
        intervalMs: 50,
      });
      await pods.exec('early', ['touch', '/go/on'], 'init');
      const pod = await pods.until(
        'in force',
        'early',
        (seen) => containerOf(seen)?.resources?.limits?.['memory'] === '96Mi' && isSettled(seen),
      );
      assert.equal(restarts(pod), 0);
      await pods.remove('early');
    });

    test('sidecars are resized as the apps are, and ordinary init containers that still run', async () => {
      const given = { requests: { cpu: '20m', memory: '16Mi' }, limits: { memory: '32Mi' } };
      await pods.create('sidecar', {
        initContainers: [sized(given, { name: 'side', restartPolicy: 'Always' }), sized(given, { name: 'init' })],
        containers: [sized(given)],
      } as Partial<PodSpec>);
      await pods.until('init runs', 'sidecar', (pod) => containerOf(pod, 'init')?.state?.running);
      const next = { limits: { memory: '48Mi' } };
      await resize('sidecar', {
        initContainers: [
          { name: 'side', resources: next },
          { name: 'init', resources: next },
        ],
      });
      const pod = await pods.until(
        'resized',
        'sidecar',
        (seen) =>
          ['side', 'init'].every((name) => containerOf(seen, name)?.resources?.limits?.['memory'] === '48Mi') &&
          isSettled(seen),
      );
      assert.equal(containerOf(pod, 'side')?.restartCount, 0);
      assert.equal(cgroupOf(pod).memory, (32 + 48 + 16) * mebibyte);
      await pods.remove('sidecar');
    });

    test('a limit below what is in use is not put into force, and is when the memory is free', async () => {
      const script =
        'trap "rm -f /fill/x; touch /fill/done" USR1; dd if=/dev/zero of=/fill/x bs=1M count=40 2>/dev/null; touch /fill/full; while true; do sleep 0.1; done';
      const given = { requests: { memory: '96Mi' }, limits: { memory: '128Mi' } };
      const volumeMounts = [{ name: 'fill', mountPath: '/fill' }];
      await pods.create('inuse', {
        volumes: [{ name: 'fill', emptyDir: { medium: 'Memory' } }],
        containers: [sized(given, { script, volumeMounts })],
      } as Partial<PodSpec>);
      await pods.untilReady('inuse');
      await pollUntil('memory is in use', async () => (await pods.exec('inuse', ['ls', '/fill'])).includes('full'), {
        timeoutMs: 20_000,
        intervalMs: 100,
      });
      await resize('inuse', one({ requests: { memory: '16Mi' }, limits: { memory: '20Mi' } }));
      const refused = await pods.until(
        'refused',
        'inuse',
        (pod) => conditionOf(pod, 'PodResizeInProgress')?.reason === 'Error',
      );
      assert.match(
        conditionOf(refused, 'PodResizeInProgress')!.message!,
        /^cannot decrease memory limits: .*attempting to set pod memory limit \(20971520\) below current usage \(\d+\)/,
      );
      assert.equal(cgroupOf(refused).memory, 128 * mebibyte);
      assert.equal(containerOf(refused)?.resources?.limits?.['memory'], '128Mi');
      await pods.untilEvent('inuse', 'ResizeError');
      await pods.exec('inuse', ['sh', '-c', 'kill -USR1 1']);
      const pod = await pods.until(
        'in force',
        'inuse',
        (seen) => containerOf(seen)?.resources?.limits?.['memory'] === '20Mi' && isSettled(seen),
      );
      assert.equal(cgroupOf(pod).memory, 20 * mebibyte);
      await pods.remove('inuse');
    });

    test('what the node has no room for now is deferred, and granted when a pod has gone; more than the node has is refused', async () => {
      const node = await cluster.get('node', 'node-1');
      const most =
        Number.parseFloat(node.status.allocatable.cpu) * (node.status.allocatable.cpu.endsWith('m') ? 1 : 1000);
      const half = `${Math.floor(most * 0.55)}m`;
      await pods.create('occupant', { containers: [sized({ requests: { cpu: half } })] } as Partial<PodSpec>);
      await pods.create('waiter', { containers: [sized({ requests: { cpu: '20m' } })] } as Partial<PodSpec>);
      await Promise.all(['occupant', 'waiter'].map((name) => pods.untilReady(name)));
      await assert.rejects(
        resize('waiter', one({ requests: { cpu: '64' } })),
        /node didn't have enough allocatable resources: cpu, requested: 64000/,
      );
      await resize('waiter', one({ requests: { cpu: half } }));
      const deferred = await pods.until(
        'deferred',
        'waiter',
        (pod) => conditionOf(pod, 'PodResizePending')?.reason === 'Deferred',
      );
      assert.match(
        conditionOf(deferred, 'PodResizePending')!.message!,
        /^Node didn't have enough resource: cpu, requested: \d+/,
      );
      assert.equal(containerOf(deferred)?.allocatedResources?.['cpu'], '20m');
      await pods.untilEvent('waiter', 'ResizeDeferred');
      await pods.remove('occupant');
      const granted = await pods.until(
        'granted',
        'waiter',
        (pod) => containerOf(pod)?.allocatedResources?.['cpu'] === half && isSettled(pod),
      );
      assert.equal(containerOf(granted)?.resources?.requests?.['cpu'], half);
      await pods.remove('waiter');
    });

    test('what the pod as a whole asks for is resized, and bounds containers that have no limit of their own', async () => {
      const whole = (cpu: string, memory: string) => ({
        requests: { cpu: '50m', memory: '32Mi' },
        limits: { cpu, memory },
      });
      await pods.create('whole', {
        resources: whole('100m', '64Mi'),
        containers: [pods.container()],
      } as Partial<PodSpec>);
      const first = await pods.untilReady('whole');
      assert.equal(first.status?.qosClass, 'Burstable');
      assert.deepEqual([cgroupOf(first).memory, cgroupOf(first).quota], [64 * mebibyte, 10_000]);
      assert.equal(await memoryLimitInside('whole'), 64 * mebibyte);
      await resize('whole', { resources: whole('200m', '96Mi') });
      const pod = await pods.until(
        'resized',
        'whole',
        (seen) => seen.status?.resources?.limits?.['memory'] === '96Mi' && isSettled(seen),
      );
      assert.deepEqual([cgroupOf(pod).memory, cgroupOf(pod).quota], [96 * mebibyte, 20_000]);
      assert.equal(await memoryLimitInside('whole'), 96 * mebibyte);
      assert.equal(restarts(pod), 0);
      await pods.remove('whole');
    });
  });

  describe('the resize of a pod and the death of the kubelet', () => {
    test('what was granted goes on being granted, and what was not put into force yet is afterwards', async () => {
      await using cluster = await Cluster.start('kresizekill', ['--place', 'kubelet=process']);
      await using registry = await DemoRegistry.start(cluster.namespace);
      const image = registry.image('v1');
      const limits = (memory: string) => ({ requests: { memory: '16Mi' }, limits: { memory } });
      const containers = [
        {
          name: 'main',
          image,
          command: ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'],
          resources: limits('64Mi'),
        },
      ];
      const manifest = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'kept' },
        spec: { terminationGracePeriodSeconds: 1, containers },
      };
      await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(manifest) });
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/kept', '--timeout=60s']);
      for (const memory of ['96Mi', '72Mi']) {
        const patch = JSON.stringify({ spec: { containers: [{ name: 'main', resources: limits(memory) }] } });
        const resized = cluster.kubectl(['patch', 'pod', 'kept', '--subresource', 'resize', '-p', patch]);
        process.kill(await cluster.pidOf('kubelet'), 'SIGKILL');
        await resized;
        const pod: Pod = await pollUntil(
          `resized to ${memory}`,
          async () => {
            const seen: Pod = await cluster.get('pod', 'kept');
            return (
              containerOf(seen)?.resources?.limits?.['memory'] === memory &&
              !conditionOf(seen, 'PodResizeInProgress') &&
              seen
            );
          },
          { timeoutMs: 30_000, intervalMs: 100 },
        );
        assert.equal(containerOf(pod)?.restartCount, 0);
        const tree = openCgroups();
        const path = `${cgroupRoot(cluster.dataDirectory)}/kubepods/burstable/pod${pod.metadata.uid}`;
        assert.equal(Number(tree.usage(path)?.memoryLimitBytes), Number.parseInt(memory, 10) * mebibyte);
      }
      await cluster.kubectl(['delete', 'pod', 'kept', '--timeout=60s']);
    });
  });
});

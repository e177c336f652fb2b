/**
 * Restart, loss and hardships: a kubelet that is killed, an API server and a runtime that are away, calls that hang, a node
 * without its object, many pods at once. What runs goes on, nothing is started twice, nothing is forgotten.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ContainerState, PodSandboxState, RuntimeService } from '../../../src/api/cri/index.ts';
import { resources } from '../../../src/api/index.ts';
import { pollUntil, systemClock } from '../../../src/async/index.ts';
import { createGrpcClient, type GrpcClient } from '../../../src/wire/grpc/index.ts';
import type { Cluster } from '../../support/cluster.ts';
import { CriProxy } from '../../support/cri-proxy.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { conditionOf, containerOf, isReady, neverBack, PodDriver } from '../../support/pod-driver.ts';
import { SuiteNode } from '../../support/suite-node.ts';

const namespace = 'default';
const podName = 'io.kubernetes.pod.name';

describe('restart, loss and hardships', { concurrency: false }, () => {
  let node: SuiteNode;
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;
  let proxy: CriProxy;
  let cri: GrpcClient<typeof RuntimeService>;
  let shared: string;

  before(async () => {
    shared = await mkdtemp(join(tmpdir(), 'dh-ksurv-shared-'));
    const socket = `unix://${join(shared, 'cri.sock')}`;
    const fields = async ({ endpoint }: SuiteNode) => {
      proxy = await CriProxy.start(socket, endpoint);
      return { containerRuntimeEndpoint: socket };
    };
    node = await SuiteNode.start('ksurv', fields, ['--place', 'apiserver=process']);
    cluster = node.cluster;
    cri = createGrpcClient(RuntimeService, node.endpoint);
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
    // What is pulled once is there: the trials are about pods.
    await pods.create('first');
    const probed = pods.container({
      imagePullPolicy: 'IfNotPresent',
      readinessProbe: { exec: { command: ['true'] }, initialDelaySeconds: 1, periodSeconds: 2 },
    });
    const fixed = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'fixed' }, spec: { containers: [probed] } };
    await writeFile(join(cluster.dataDirectory, 'manifests', 'fixed.json'), JSON.stringify(fixed));
    await Promise.all([pods.untilReady('first'), pods.untilReady('fixed-node-1')]);
  });
  after(async () => {
    cri?.close();
    await pods?.stop();
    await registry?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await rm(shared, { recursive: true, force: true });
    for (const versions of pods?.history.values() ?? []) neverBack(versions);
  });

  const notes = () => ({
    volumes: [{ name: 'notes', hostPath: { path: shared } }],
    volumeMounts: [{ name: 'notes', mountPath: '/notes' }],
  });
  const readNotes = async (file: string) =>
    (await readFile(join(shared, file), 'utf8').catch(() => '')).trim().split('\n').filter(Boolean);
  const killKubelet = async () => {
    const pid = await cluster.pidOf('kubelet');
    process.kill(pid, 'SIGKILL');
    await pollUntil(
      'another kubelet',
      async () => {
        const now = await cluster.pidOf('kubelet').catch(() => 0);
        return now > 0 && now !== pid;
      },
      { timeoutMs: 20_000 },
    );
  };
  /** What the runtime has of pods whose names begin so. */
  const inRuntime = async (prefix: string) => {
    const [{ items }, { containers }] = await Promise.all([cri.listPodSandbox({}), cri.listContainers({})]);
    const own = <T extends { labels: Record<string, string> }>(all: T[]) =>
      all.filter(({ labels }) => labels[podName]?.startsWith(prefix));
    return { sandboxes: own(items), containers: own(containers) };
  };
  const nothingLeft = (prefix: string) =>
    pollUntil(
      'an empty runtime',
      async () => {
        const { sandboxes, containers } = await inRuntime(prefix);
        return sandboxes.length + containers.length === 0;
      },
      { timeoutMs: 10_000, intervalMs: 50 },
    );
  const names = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
  /** The versions of a pod since the one of that number in which it was not Ready. */
  const unready = (name: string, from: number) =>
    pods.history
      .get(name)!
      .slice(from)
      .flatMap((pod) => (isReady(pod) ? [] : [pod.status]));

  test('a kubelet that is killed while pods start starts each container once, and takes over those that run', async () => {
    const running = ['first', 'fixed-node-1'].map((name) => ({ name, seen: pods.history.get(name)!.length }));
    for (const round of [0, 1]) {
      const own = names(`start${round}-`, 8);
      // One after another, so that the kill finds them at different steps.
      const creation = (async () => {
        for (const name of own) {
          await pods.create(name, { initContainers: [pods.container({ name: 'init', script: 'sleep 0.2' })] });
          await systemClock.sleep(60);
        }
      })();
      await pollUntil('the sixth', () => pods.get(own[5]!) !== undefined, { timeoutMs: 20_000, intervalMs: 5 });
      await killKubelet();
      await creation;
      const ready = await Promise.all(own.map((name) => pods.untilReady(name)));
      // Containerd gives up a start whose caller has died: that container has ended, and is restarted.
      const most = node.runtimeName === 'deckhand' ? 0 : 1;
      for (const pod of ready) {
        for (const name of ['main', 'init'])
          assert.ok(containerOf(pod, name)!.restartCount <= most, JSON.stringify(pod.status));
      }
      const { sandboxes, containers } = await inRuntime(`start${round}-`);
      assert.equal(sandboxes.filter(({ state }) => state === PodSandboxState.SANDBOX_READY).length, own.length);
      assert.equal(containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING).length, own.length);
    }
    for (const { name, seen } of running) assert.deepEqual(unready(name, seen), [], name);
  });

  test('a kubelet that is killed while pods end ends them all, and leaves nothing behind', async () => {
    const own = [...names('start0-', 8), ...names('start1-', 8)];
    const uids = own.map((name) => pods.get(name)!.metadata.uid);
    const deletion = (async () => {
      for (const name of own) {
        await pods.delete(name);
        await systemClock.sleep(30);
      }
    })();
    await pollUntil('the tenth', () => !pods.get(own[9]!) || pods.get(own[9]!)!.metadata.deletionTimestamp, {
      ...{ timeoutMs: 20_000, intervalMs: 5 },
    });
    await killKubelet();
    await deletion;
    await Promise.all(own.map((name) => pods.untilGone(name)));
    await nothingLeft('start');
    const root = join(cluster.dataDirectory, 'kubelet', 'pods');
    const left = async () => (await readdir(root)).filter((uid) => uids.includes(uid));
    await pollUntil('no directories', async () => (await left()).length === 0, { timeoutMs: 15_000, intervalMs: 100 });
    const logs = async () =>
      (await readdir(join(cluster.dataDirectory, 'logs', 'pods'))).filter((name) => name.includes('_start'));
    await pollUntil('no logs', async () => (await logs()).length === 0, { timeoutMs: 15_000, intervalMs: 100 });
  });

  test('what a killed kubelet had begun goes on: hooks that have run do not run again, back-offs are waited for', async () => {
    const { volumes, volumeMounts } = notes();
    const script =
      'trap "echo signal >> /notes/ending; sleep 3; echo end >> /notes/ending; exit 0" TERM; touch /trapped; while true; do sleep 0.1; done';
    const preStop = { exec: { command: ['sh', '-c', 'echo hook >> /notes/ending'] } };
    await pods.create('ending', {
      ...{ terminationGracePeriodSeconds: 30, volumes },
      containers: [pods.container({ ...pods.trapped, script, volumeMounts, lifecycle: { preStop } })],
    });
    await pods.untilReady('ending');
    await pods.create('crashing', { containers: [pods.container({ script: 'exit 7' })] });
    const before = await pods.until(
      'back-off',
      'crashing',
      (one) => containerOf(one)?.state?.waiting?.reason === 'CrashLoopBackOff',
    );
    assert.match(containerOf(before)?.state?.waiting?.message ?? '', /back-off 10s /);
    await pods.delete('ending');
    await pollUntil('the signal', async () => (await readNotes('ending')).includes('signal'), { timeoutMs: 10_000 });
    await killKubelet();
    await pods.create('after-crash');
    await pods.untilReady('after-crash');
    const then = pods.get('crashing');
    assert.equal(containerOf(then)?.restartCount, containerOf(before)?.restartCount);
    assert.match(containerOf(then)?.state?.waiting?.message ?? '', /back-off 10s /);
    await pods.untilGone('ending');
    // The stop is asked for once more; the hook is not.
    const said = await readNotes('ending');
    assert.deepEqual([said.filter((one) => one === 'hook').length, said.at(-1)], [1, 'end']);
    assert.equal(pods.history.get('ending')!.at(-1)!.status?.phase, 'Succeeded');
    await Promise.all([pods.remove('crashing'), pods.remove('after-crash')]);
  });

  test('an API server that is away: containers are restarted with what is known, and all is told when it is back', async () => {
    const { volumes, volumeMounts } = notes();
    await cluster.kubectl(['create', 'configmap', 'known', '--from-literal=word=hello']);
    const env = [{ name: 'WORD', valueFrom: { configMapKeyRef: { name: 'known', key: 'word' } } }];
    const script =
      'echo $WORD >> /notes/away; while ! test -e /notes/crash; do sleep 0.1; done; mv /notes/crash /notes/crashed; exit 1';
    await pods.create('while-away', { volumes, containers: [pods.container({ script, volumeMounts, env })] });
    await pods.untilReady('while-away');
    const seen = pods.history.get('first')!.length;
    const apiserver = await cluster.pidOf('apiserver');
    process.kill(apiserver, 'SIGSTOP');
    try {
      await writeFile(join(shared, 'crash'), '');
      await pollUntil('a restart', async () => (await readNotes('away')).length === 2, { timeoutMs: 15_000 });
      await systemClock.sleep(2000);
    } finally {
      process.kill(apiserver, 'SIGCONT');
    }
    const pod = await pods.until('told', 'while-away', (one) => isReady(one) && containerOf(one)?.restartCount === 1);
    assert.equal(containerOf(pod)?.lastState?.terminated?.exitCode, 1);
    assert.deepEqual(await readNotes('away'), ['hello', 'hello']);
    assert.deepEqual(unready('first', seen), []);
    await pods.remove('while-away');
  });

  test('a kubelet that is started while the API server is away takes care of its static pods', async () => {
    const own = async () =>
      (await inRuntime('fixed')).containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING);
    const [before] = await own();
    const [kubelet, apiserver] = [await cluster.pidOf('kubelet'), await cluster.pidOf('apiserver')];
    process.kill(apiserver, 'SIGSTOP');
    try {
      process.kill(kubelet, 'SIGKILL');
      await cri.execSync({ containerId: before!.id, cmd: ['sh', '-c', 'kill -TERM 1'], timeout: 5n }).catch(() => {});
      await pollUntil('another container', async () => (await own()).some(({ id }) => id !== before!.id), {
        ...{ timeoutMs: 25_000, intervalMs: 100 },
      });
    } finally {
      process.kill(apiserver, 'SIGCONT');
    }
    const pod = await pods.until('told', 'fixed-node-1', (one) => isReady(one) && containerOf(one)?.restartCount === 1);
    assert.equal(containerOf(pod)?.lastState?.terminated?.exitCode, 0);
    assert.equal(isReady(pods.get('first')), true);
  });

  test('an API server that is started anew finds the pods as they were', async () => {
    const before = pods.get('first')!;
    const seen = pods.history.get('first')!.length;
    process.kill(await cluster.pidOf('apiserver'), 'SIGKILL');
    await pollUntil('an answer', async () => (await cluster.tryKubectl(['get', '--raw', '/readyz'])).status === 0, {
      timeoutMs: 20_000,
      intervalMs: 100,
    });
    await pods.create('after-api');
    await pods.untilReady('after-api');
    assert.equal(containerOf(pods.get('first'))?.containerID, containerOf(before)?.containerID);
    assert.deepEqual(unready('first', seen), []);
    await pods.remove('after-api');
  });

  test('a runtime that is away changes nothing of what runs; what came meanwhile starts when it is back', async () => {
    const before = pods.get('first')!;
    const seen = pods.history.get('first')!.length;
    const { volumes, volumeMounts } = notes();
    const preStop = { exec: { command: ['sh', '-c', 'echo hook >> /notes/unreachable'] } };
    const ending = pods.container({ volumeMounts, lifecycle: { preStop } });
    await pods.create('unreachable', { terminationGracePeriodSeconds: 30, volumes, containers: [ending] });
    await pods.untilReady('unreachable');
    proxy.fate = () => 'unavailable';
    proxy.cut();
    await pods.create('meanwhile');
    await pods.delete('unreachable');
    await pods.untilEvent('meanwhile', 'FailedCreatePodSandBox');
    await pods.untilEvent('unreachable', 'FailedKillPod');
    await systemClock.sleep(800);
    assert.equal(isReady(pods.get('first')), true);
    proxy.heal();
    await pods.untilReady('meanwhile');
    await pods.untilGone('unreachable');
    assert.deepEqual(await readNotes('unreachable'), ['hook'], 'the hook was not given up');
    assert.equal(containerOf(pods.get('first'))?.containerID, containerOf(before)?.containerID);
    assert.deepEqual(unready('first', seen), []);
    await pods.remove('meanwhile');
  });

  test('a call that hangs holds up its own pod only, and that only until it is deleted', async () => {
    const isHanging = (request: any) =>
      request.config?.metadata?.name === 'hangs' || request.sandboxConfig?.metadata?.name === 'hangs';
    proxy.fate = (method, request) => (method === 'createContainer' && isHanging(request) ? 'hang' : undefined);
    await pods.create('hangs');
    await pollUntil('the call', () => (proxy.counts.get('createContainer') ?? 0) > 0, { timeoutMs: 10_000 });
    await pods.create('beside');
    await pods.untilReady('beside');
    await pods.until('waits', 'hangs', (pod) => conditionOf(pod, 'PodReadyToStartContainers')?.status === 'True');
    await pods.remove('hangs');
    await pods.remove('beside');
    proxy.heal();
    await pollUntil('nothing left', async () => (await inRuntime('hangs')).sandboxes.length === 0, {
      timeoutMs: 10_000,
    });
  });

  test('a container that cannot be looked at after a restart is not taken for missing', async () => {
    await pods.create('dark');
    const before = await pods.untilReady('dark');
    const seen = pods.history.get('dark')!.length;
    const id = containerOf(before)!.containerID!.replace(/^.*:\/\//, '');
    proxy.fate = (method, request) => (method === 'containerStatus' && request.containerId === id ? 'hang' : undefined);
    await killKubelet();
    await pods.create('light');
    await pods.untilReady('light');
    assert.equal((await inRuntime('dark')).containers.length, 1);
    proxy.heal();
    await pods.client.patch(
      resources.pods,
      'dark',
      { spec: { activeDeadlineSeconds: 3600 } },
      { namespace, type: 'merge' },
    );
    const then = await pods.until('looked at', 'dark', ({ status }) => status?.observedGeneration === 2);
    assert.equal(containerOf(then)?.containerID, containerOf(before)?.containerID);
    assert.equal(containerOf(then)?.restartCount, 0);
    assert.deepEqual(unready('dark', seen), []);
    await Promise.all([pods.remove('dark'), pods.remove('light')]);
  });

  test('without events of the runtime all goes on the same', async () => {
    proxy.fate = (method) => (method === 'getContainerEvents' ? 'unimplemented' : undefined);
    proxy.cut();
    const once = { restartPolicy: 'Never', containers: [pods.container({ script: 'sleep 0.3; exit 0' })] };
    await Promise.all([pods.create('no-events'), pods.create('ends-soon', once)]);
    const crashing = pods.container({ script: 'sleep 1; exit 1' });
    await pods.create('crashes', { containers: [crashing] });
    await Promise.all([
      pods.untilReady('no-events'),
      pods.until('Succeeded', 'ends-soon', ({ status }) => status?.phase === 'Succeeded'),
      pods.until('a restart', 'crashes', (pod) => containerOf(pod)?.restartCount === 1),
    ]);
    await Promise.all(['no-events', 'ends-soon', 'crashes'].map((name) => pods.remove(name)));
  });

  test('a node whose object was deleted registers again, and its pods go on', async () => {
    const before = pods.get('first')!;
    const { metadata } = await cluster.get('node', 'node-1');
    await cluster.kubectl(['delete', 'node', 'node-1', '--wait=false']);
    await pollUntil(
      'the node again',
      async () => {
        const { status, stdout } = await cluster.tryKubectl(['get', 'node', 'node-1', '-o', 'json']);
        if (status !== 0) return false;
        const now = JSON.parse(stdout);
        const ready = now.status?.conditions?.some(({ type, status: is }: any) => type === 'Ready' && is === 'True');
        return now.metadata.uid !== metadata.uid && ready;
      },
      { timeoutMs: 30_000, intervalMs: 200 },
    );
    await pods.create('new-node');
    await pods.untilReady('new-node');
    assert.equal(containerOf(pods.get('first'))?.containerID, containerOf(before)?.containerID);
    await pods.remove('new-node');
  });

  test('sixty pods that appear at once all start, and all go', async (t) => {
    const own = names('many-', 60);
    const startedAt = systemClock.monotonic();
    await Promise.all(own.map((name) => pods.create(name, { automountServiceAccountToken: false })));
    const ready = await Promise.all(own.map((name) => pods.untilReady(name, 60_000)));
    t.diagnostic(`ready after ${Math.round(systemClock.monotonic() - startedAt)} ms`);
    assert.ok(ready.every((pod) => containerOf(pod)?.restartCount === 0));
    const deletedAt = systemClock.monotonic();
    await Promise.all(own.map((name) => pods.delete(name)));
    await Promise.all(own.map((name) => pods.untilGone(name, 60_000)));
    t.diagnostic(`gone after ${Math.round(systemClock.monotonic() - deletedAt)} ms`);
    await nothingLeft('many-');
  });
});

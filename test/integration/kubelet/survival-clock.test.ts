/** A kubelet in this process, whose clock is set forward and back by an hour while it works. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Clock, pollUntil, systemClock } from '../../../src/async/index.ts';
import { createClient, loadKubeconfig } from '../../../src/client/index.ts';
import { type KubeletComponent, startKubelet } from '../../../src/kubelet/index.ts';
import { createLogger } from '../../../src/log/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { containerOf, isReady, neverBack, PodDriver } from '../../support/pod-driver.ts';
import { TestRuntime } from '../../support/test-runtime.ts';

const hourMs = 3_600_000;

describe('a clock that jumps', { concurrency: false }, () => {
  let cluster: Cluster;
  let runtime: TestRuntime;
  let pods: PodDriver;
  let kubelet: KubeletComponent;
  let root: string;
  let offsetMs = 0;
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + offsetMs };

  before(async () => {
    cluster = await Cluster.start('kclock');
    runtime = await TestRuntime.create('kclock');
    pods = await PodDriver.start(cluster, 'busybox');
    root = await mkdtemp(join(tmpdir(), 'dh-kclock-root-'));
    kubelet = startKubelet(
      {
        client: createClient(await loadKubeconfig(join(cluster.dataDirectory, 'admin.conf'))),
        nodeName: 'node-2',
        nodeIps: ['127.0.0.1'],
        rootDirectory: join(root, 'kubelet'),
        configuration: {
          containerRuntimeEndpoint: `unix://${join(runtime.base, 'cri.sock')}`,
          podLogsDir: join(root, 'logs', 'pods'),
          cgroupRoot: runtime.cgroupParent,
          authentication: { webhook: { enabled: false } },
          authorization: { mode: 'AlwaysAllow' },
          ...{ port: 10_350, healthzPort: 0 },
        },
      },
      { log: createLogger('kubelet', () => {}), clock },
    );
    await kubelet.ready;
  });
  after(async () => {
    await kubelet?.stop({ remove: true });
    await pods?.stop();
    await runtime?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    if (root) await rm(root, { recursive: true, force: true });
    for (const versions of pods?.history.values() ?? []) neverBack(versions);
  });

  const create = (name: string, spec = {}, changes = {}) =>
    pods.create(name, {
      ...{ nodeName: 'node-2', automountServiceAccountToken: false },
      containers: [pods.container({ imagePullPolicy: 'Never', ...changes })],
      ...spec,
    });
  const nodeIsReady = async () => {
    const node = await cluster.get('node', 'node-2');
    return node.status.conditions.find(({ type }: any) => type === 'Ready')?.status === 'True';
  };
  const endProcess = async (name: string) => {
    const id = containerOf(pods.get(name))!.containerID!.replace(/^.*:\/\//, '');
    await runtime.cri.execSync({ containerId: id, cmd: ['sh', '-c', 'kill -TERM 1'], timeout: 5n });
  };

  test('an hour forward or back restarts nothing, holds up nothing and lets no probe or deadline go wrong', async () => {
    const probe = { exec: { command: ['true'] }, periodSeconds: 1 };
    await create('steady', {}, { readinessProbe: probe, livenessProbe: probe });
    await create('limited', { activeDeadlineSeconds: 300 });
    await create('restarted');
    await Promise.all(['steady', 'limited', 'restarted'].map((name) => pods.untilReady(name)));
    const before = containerOf(pods.get('steady'))?.containerID;
    const seen = pods.history.get('steady')!.length;
    for (const [round, jumpMs] of [hourMs, -2 * hourMs].entries()) {
      offsetMs += jumpMs;
      await create(`new-${round}`, {}, { readinessProbe: { ...probe, initialDelaySeconds: 1 } });
      await pods.untilReady(`new-${round}`);
      await pods.remove(`new-${round}`);
      await endProcess('restarted');
      const wanted = round + 1;
      // The second end has to wait for its back-off, and no longer.
      await pods.until(
        'restarted',
        'restarted',
        (pod) => isReady(pod) && containerOf(pod)!.restartCount === wanted,
        25_000,
      );
      await pollUntil('a Ready node', nodeIsReady, { timeoutMs: 15_000, intervalMs: 200 });
    }
    assert.equal(containerOf(pods.get('steady'))?.containerID, before);
    assert.ok(pods.history.get('steady')!.slice(seen).every(isReady), 'readiness did not flap');
    assert.equal(pods.get('limited')?.status?.phase, 'Running');
    await Promise.all(['steady', 'limited', 'restarted'].map((name) => pods.remove(name)));
  });
});

/** Containers within their pod: order, hooks, restarts and back-offs, messages, variables, what is lost. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { RuntimeService } from '../../../src/api/cri/index.ts';
import { type Pod, resources } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { createGrpcClient, type GrpcClient } from '../../../src/wire/grpc/index.ts';
import { createHttpServer } from '../../../src/wire/http/index.ts';
import type { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { conditionOf, containerOf, isReady, neverBack, PodDriver } from '../../support/pod-driver.ts';
import { SuiteNode } from '../../support/suite-node.ts';

const namespace = 'default';

describe('containers of a pod', { concurrency: 8 }, () => {
  let node: SuiteNode;
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;
  let cri: GrpcClient<typeof RuntimeService>;
  let shared: string;

  before(async () => {
    shared = await mkdtemp(join(tmpdir(), 'dh-kcont-shared-'));
    node = await SuiteNode.start('kcont', () => ({ crashLoopBackOff: { maxContainerRestartPeriod: '2s' } }));
    cluster = node.cluster;
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
    cri = createGrpcClient(RuntimeService, node.endpoint);
  });
  after(async () => {
    cri?.close();
    await pods?.stop();
    await registry?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
    await rm(shared, { recursive: true, force: true });
    for (const versions of pods?.history.values() ?? []) neverBack(versions);
  });

  /** A place outside of the pod that its containers write to: it is there after the pod. */
  const notes = () => ({
    volumes: [{ name: 'notes', hostPath: { path: shared } }],
    volumeMounts: [{ name: 'notes', mountPath: '/notes' }],
  });
  const readNotes = async (file: string) =>
    (await readFile(join(shared, file), 'utf8').catch(() => '')).trim().split('\n').filter(Boolean);
  /** Waits until the containers have written these lines: a container that runs may not have come to its script yet. */
  const untilNotes = async (file: string, wanted: string[]) => {
    const isSo = async () => (await readNotes(file)).join() === wanted.join();
    await pollUntil('notes', isSo, { timeoutMs: 5000 }).catch(() => {});
    assert.deepEqual(await readNotes(file), wanted);
  };
  const patch = (name: string, spec: object) =>
    pods.client.patch(resources.pods, name, { spec }, { namespace, type: 'strategic' });
  const terminatedBefore = (pod: Pod, name = 'main') => containerOf(pod, name)?.lastState?.terminated;
  const criId = (pod: Pod, name = 'main') => containerOf(pod, name)!.containerID!.replace(/^.*:\/\//, '');

  test('a sidecar with a failing startup probe keeps the next container waiting, and is restarted', async () => {
    const startupProbe = { exec: { command: ['test', '-e', '/none'] }, periodSeconds: 1, failureThreshold: 1 };
    await pods.create('gate', {
      initContainers: [{ ...pods.container({ name: 'side', startupProbe }), restartPolicy: 'Always' }],
    });
    const pod = await pods.until(
      'restarts of the sidecar',
      'gate',
      (one) => (containerOf(one, 'side')?.restartCount ?? 0) >= 1,
    );
    assert.equal(containerOf(pod)?.state?.waiting?.reason, 'PodInitializing');
    assert.equal(pod.status?.phase, 'Pending');
    await pods.untilEvent('gate', 'Killing', /^Init container side failed startup probe$/);
    await pods.remove('gate');
  });

  test('sidecars end after the apps, in the reverse of their order', async () => {
    const { volumes, volumeMounts } = notes();
    const script = (name: string, delay: number) =>
      `trap "sleep ${delay}; echo ${name} >> /notes/end; exit 0" TERM; touch /trapped; while true; do sleep 0.1; done`;
    const side = (name: string) => ({
      ...pods.container({ ...pods.trapped, name, script: script(name, 0), volumeMounts }),
      restartPolicy: 'Always',
    });
    await pods.create('ordered', {
      ...{ terminationGracePeriodSeconds: 20, volumes },
      initContainers: [side('one'), side('two')],
      containers: [pods.container({ ...pods.trapped, script: script('main', 1), volumeMounts })],
    });
    await pods.untilReady('ordered');
    await pods.remove('ordered');
    await untilNotes('end', ['main', 'two', 'one']);
  });

  test('a postStart hook holds up the next container; one that fails kills its own, which is told without its output', async () => {
    const { volumes, volumeMounts } = notes();
    const postStart = { exec: { command: ['sh', '-c', 'sleep 1; echo hook >> /notes/post'] } };
    await pods.create('hooked', {
      volumes,
      containers: [
        pods.container({ name: 'first', volumeMounts, lifecycle: { postStart } }),
        pods.container({ script: 'echo main >> /notes/post; trap "exit 0" TERM; sleep 3600 & wait', volumeMounts }),
      ],
    });
    await pods.create('hook-fails', {
      containers: [
        pods.container({ lifecycle: { postStart: { exec: { command: ['sh', '-c', 'echo hush; exit 5'] } } } }),
      ],
    });
    await pods.untilReady('hooked');
    await untilNotes('post', ['hook', 'main']);
    const event = await pods.untilEvent('hook-fails', 'FailedPostStartHook');
    assert.equal(event.message, 'PostStartHook failed');
    await pods.until(
      'told',
      'hook-fails',
      (pod) =>
        pods.history
          .get('hook-fails')!
          .some((one) => containerOf(one)?.state?.waiting?.reason === 'PostStartHookError') &&
        (containerOf(pod)?.restartCount ?? 0) >= 1,
    );
    await Promise.all([pods.remove('hooked'), pods.remove('hook-fails')]);
  });

  test('http hooks are made with their headers, whatever is answered; https falls back to http', async () => {
    const asked: string[] = [];
    const server = createHttpServer({
      handler: (request, response) => {
        asked.push(`${request.url} ${request.headers['x-who']} ${request.headers['authorization'] ?? 'nobody'}`);
        response.writeHead(500).end();
      },
    });
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    const httpHeaders = [
      { name: 'x-who', value: 'me' },
      { name: 'Authorization', value: 'secret' },
    ];
    const get = (path: string, scheme: string) => ({ httpGet: { host: '127.0.0.1', port, path, scheme, httpHeaders } });
    try {
      const lifecycle = { postStart: get('/start', 'HTTP'), preStop: get('/stop', 'HTTPS') };
      await pods.create('asks', { terminationGracePeriodSeconds: 10, containers: [pods.container({ lifecycle })] });
      await pods.untilReady('asks');
      await pods.remove('asks');
      assert.deepEqual(asked, ['/start me secret', '/stop me nobody']);
      await pods.untilEvent('asks', 'LifecycleHTTPFallback');
    } finally {
      await server.close();
    }
  });

  test('a preStop hook runs before the stop signal, sleeps, and ends with its container', async () => {
    const { volumes, volumeMounts } = notes();
    const script = 'trap "echo signal >> /notes/stop; exit 0" TERM; touch /trapped; while true; do sleep 0.1; done';
    const preStop = { exec: { command: ['sh', '-c', 'sleep 0.3; echo hook >> /notes/stop'] } };
    const grace = { terminationGracePeriodSeconds: 60, volumes };
    await pods.create('stops', {
      ...grace,
      containers: [pods.container({ ...pods.trapped, script, volumeMounts, lifecycle: { preStop } })],
    });
    await pods.create('sleeps', {
      ...grace,
      containers: [pods.container({ lifecycle: { preStop: { sleep: { seconds: 0 } } } })],
    });
    await pods.create('cut', {
      ...grace,
      restartPolicy: 'Never',
      containers: [
        pods.container({
          script: 'while ! test -e /notes/cut; do sleep 0.1; done',
          volumeMounts,
          lifecycle: { preStop: { sleep: { seconds: 50 } } },
        }),
      ],
    });
    await Promise.all(['stops', 'sleeps', 'cut'].map((name) => pods.untilReady(name)));
    await Promise.all(['stops', 'sleeps'].map((name) => pods.remove(name)));
    await untilNotes('stop', ['hook', 'signal']);
    await pods.delete('cut');
    await pods.untilEvent('cut', 'Killing');
    await rm(join(shared, 'cut'), { force: true });
    const { writeFile } = await import('node:fs/promises');
    await writeFile(join(shared, 'cut'), '');
    await pods.untilGone('cut', 20_000);
    assert.ok(!pods.events('cut').some(({ reason }) => reason === 'FailedPreStopHook'));
  });

  test('a preStop hook that fails, or is longer than the grace period, is told and stops nothing', async () => {
    const preStop = { exec: { command: ['sh', '-c', 'echo hush; exit 1'] } };
    const long = { exec: { command: ['sleep', '100'] } };
    await pods.create('pre-fails', {
      terminationGracePeriodSeconds: 5,
      containers: [pods.container({ lifecycle: { preStop } })],
    });
    await pods.create('pre-long', { containers: [pods.container({ lifecycle: { preStop: long } })] });
    await Promise.all([pods.untilReady('pre-fails'), pods.untilReady('pre-long')]);
    await Promise.all([pods.remove('pre-fails'), pods.remove('pre-long')]);
    for (const name of ['pre-fails', 'pre-long']) {
      const { message } = await pods.untilEvent(name, 'FailedPreStopHook');
      assert.equal(message, 'PreStopHook failed');
    }
  });

  test('restart policies of the pod and of its containers decide what runs again', async () => {
    const ends = (name: string, code: number, restartPolicy?: string) => ({
      ...pods.container({ name, script: `exit ${code}` }),
      ...(restartPolicy ? { restartPolicy } : {}),
    });
    await pods.create('mixed', {
      restartPolicy: 'Never',
      containers: [ends('never', 1), ends('failing', 2, 'OnFailure'), ends('done', 0, 'OnFailure')],
    });
    await pods.create('init-fails', { restartPolicy: 'Never', initContainers: [ends('init', 3)] });
    await pods.create('init-tries', { restartPolicy: 'Never', initContainers: [ends('init', 3, 'OnFailure')] });
    const mixed = await pods.until('restarts', 'mixed', (pod) => (containerOf(pod, 'failing')?.restartCount ?? 0) >= 2);
    assert.deepEqual(
      ['never', 'done'].map((name) => containerOf(mixed, name)?.restartCount),
      [0, 0],
    );
    assert.equal(mixed.status?.phase, 'Running');
    const failed = await pods.until('Failed', 'init-fails', ({ status }) => status?.phase === 'Failed');
    assert.equal(containerOf(failed, 'init')?.state?.terminated?.exitCode, 3);
    assert.equal(containerOf(failed)?.state?.waiting?.reason, 'PodInitializing');
    const tries = await pods.until(
      'restarts',
      'init-tries',
      (pod) => (containerOf(pod, 'init')?.restartCount ?? 0) >= 1,
    );
    assert.equal(tries.status?.phase, 'Pending');
    await Promise.all(['mixed', 'init-tries', 'init-fails'].map((name) => pods.remove(name)));
  });

  test('rules of restart by exit code go before the policy', async () => {
    const { volumes, volumeMounts } = notes();
    const rules = [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }];
    const script = 'echo run >> /notes/ruled; test $(wc -l < /notes/ruled) -ge 2 && exit 1; exit 42';
    await pods.create('ruled', {
      ...{ restartPolicy: 'Never', volumes },
      containers: [{ ...pods.container({ script, volumeMounts }), restartPolicy: 'Never', restartPolicyRules: rules }],
    });
    const pod = await pods.until('Failed', 'ruled', ({ status }) => status?.phase === 'Failed');
    assert.deepEqual([containerOf(pod)?.restartCount, containerOf(pod)?.state?.terminated?.exitCode], [1, 1]);
    assert.equal(terminatedBefore(pod)?.exitCode, 42);
    await pods.remove('ruled');
  });

  test('a container may have all of its pod started anew, init containers too, in the same sandbox', async () => {
    const { volumes, volumeMounts } = notes();
    const restartPolicyRules = [{ action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [42] } }];
    const script =
      'echo main >> /notes/all; test -e /notes/all-once && { trap "exit 0" TERM; sleep 3600 & wait; }; touch /notes/all-once; sleep 1; exit 42';
    await pods.create('all-anew', {
      ...{ restartPolicy: 'Never', volumes },
      initContainers: [pods.container({ name: 'init', script: 'echo init >> /notes/all', volumeMounts })],
      containers: [
        pods.container({ name: 'other' }),
        { ...pods.container({ script, volumeMounts }), restartPolicy: 'Never', restartPolicyRules },
      ],
    });
    const pod = await pods.until('all anew', 'all-anew', (one) => isReady(one) && containerOf(one)?.restartCount === 1);
    await untilNotes('all', ['init', 'main', 'init', 'main']);
    assert.deepEqual(
      ['init', 'other'].map((name) => containerOf(pod, name)?.restartCount),
      [1, 1],
    );
    assert.equal(terminatedBefore(pod)?.exitCode, 42);
    assert.equal(terminatedBefore(pod, 'other')?.reason, 'RestartingAllContainers');
    assert.equal(conditionOf(pod, 'AllContainersRestarting')?.status, 'False');
    const versions = pods.history.get('all-anew')!;
    assert.ok(versions.some((one) => conditionOf(one, 'AllContainersRestarting')?.status === 'True'));
    assert.ok(!pods.events('all-anew').some(({ reason }) => reason === 'SandboxChanged'));
    await pods.remove('all-anew');
  });

  test('another image restarts one container and leaves the rest alone, and forgets its back-off', async () => {
    await pods.create('updated', { containers: [pods.container(), pods.container({ name: 'other' })] });
    const first = await pods.untilReady('updated');
    await patch('updated', { containers: [{ name: 'main', image: registry.image('v2') }] });
    const then = await pods.until(
      'restarted',
      'updated',
      (pod) => isReady(pod) && containerOf(pod)?.restartCount === 1,
    );
    assert.equal(containerOf(then, 'other')?.containerID, containerOf(first, 'other')?.containerID);
    assert.match(containerOf(then)?.image ?? '', /v2$/);
    await pods.untilEvent('updated', 'Killing', /^Container main definition changed, will be restarted$/);
    await pods.remove('updated');
  });

  test('what keeps crashing waits longer and longer up to the cap of the node, and says so', async () => {
    await pods.create('crashes', { containers: [pods.container({ script: 'exit 7' })] });
    const pod = await pods.until(
      'crash loop',
      'crashes',
      (one) => containerOf(one)?.state?.waiting?.reason === 'CrashLoopBackOff' && containerOf(one)!.restartCount >= 2,
    );
    assert.match(
      containerOf(pod)?.state?.waiting?.message ?? '',
      /^back-off 2s restarting failed container=main pod=crashes_default\(/,
    );
    assert.equal(terminatedBefore(pod)?.exitCode, 7);
    assert.equal(pod.status?.phase, 'Running');
    await pods.untilEvent('crashes', 'BackOff', /^Back-off restarting failed container main in pod crashes_default\(/);
    await pods.remove('crashes');
  });

  test('messages come from the file, or from the end of the log when a container failed', async () => {
    const once = (script: string, more = {}) => ({
      restartPolicy: 'Never',
      containers: [pods.container({ script, ...more })],
    });
    const terminationMessagePolicy = 'FallbackToLogsOnError';
    await pods.create('says-file', once('seq 1 3000 > /dev/termination-log; exit 1'));
    await pods.create('says-log', once('seq 1 200; exit 1', { terminationMessagePolicy }));
    await pods.create('says-nothing', once('echo fine; exit 0', { terminationMessagePolicy }));
    const message = async (name: string) => {
      const pod = await pods.until('end', name, (one) => containerOf(one)?.state?.terminated);
      return containerOf(pod)?.state?.terminated?.message ?? '';
    };
    assert.equal((await message('says-file')).length, 4096);
    const tail = (await message('says-log')).trim().split('\n');
    assert.deepEqual([tail.length, tail.at(0), tail.at(-1)], [80, '121', '200']);
    assert.equal(await message('says-nothing'), '');
    await Promise.all(['says-file', 'says-log', 'says-nothing'].map((name) => pods.remove(name)));
  });

  test('variables come from fields, resources, services and files', async () => {
    const { volumes: _, ...rest } = {} as { volumes?: unknown };
    const variable = (name: string, valueFrom: object) => ({ name, valueFrom });
    await pods.create('variables', {
      ...rest,
      volumes: [{ name: 'config', emptyDir: {} }],
      initContainers: [
        pods.container({
          name: 'init',
          script: `printf "# made\\nGREETING='hello there'\\n" > /config/env`,
          volumeMounts: [{ name: 'config', mountPath: '/config' }],
        }),
      ],
      containers: [
        pods.container({
          resources: { limits: { memory: '64Mi' } },
          env: [
            variable('POD_NAME', { fieldRef: { fieldPath: 'metadata.name' } }),
            variable('POD_IP', { fieldRef: { fieldPath: 'status.podIP' } }),
            variable('MEMORY', { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } }),
            variable('CPU', { resourceFieldRef: { resource: 'limits.cpu' } }),
            variable('GREETING', { fileKeyRef: { volumeName: 'config', path: 'env', key: 'GREETING' } }),
            variable('NOTHING', {
              fileKeyRef: { volumeName: 'config', path: 'none', key: 'GREETING', optional: true },
            }),
            { name: 'BOTH', value: '$(POD_NAME)-$$(POD_NAME)-$(MISSING)' },
          ] as never,
        }),
      ],
    });
    const pod = await pods.untilReady('variables');
    const said = new Map(
      (await pods.exec('variables', ['env']))
        .split('\n')
        .map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]),
    );
    const node = await cluster.get('node', 'node-1');
    assert.equal(said.get('POD_NAME'), 'variables');
    assert.equal(said.get('POD_IP'), pod.status?.podIP);
    assert.equal(said.get('MEMORY'), '64');
    assert.equal(
      said.get('CPU'),
      String(
        Math.ceil(
          Number(node.status.allocatable.cpu.replace(/m$/, '')) /
            (node.status.allocatable.cpu.endsWith('m') ? 1000 : 1),
        ),
      ),
    );
    assert.equal(said.get('GREETING'), 'hello there');
    assert.equal(said.has('NOTHING'), false);
    assert.equal(said.get('BOTH'), 'variables-$(POD_NAME)-$(MISSING)');
    assert.equal(said.get('KUBERNETES_SERVICE_PORT'), '443');
    await pods.remove('variables');
  });

  test('a variable from a file that is a way out of its volume is refused', async () => {
    await pods.create('way-out', {
      volumes: [{ name: 'config', emptyDir: {} }],
      initContainers: [
        pods.container({
          name: 'init',
          script: 'ln -s /etc/passwd /config/env',
          volumeMounts: [{ name: 'config', mountPath: '/config' }],
        }),
      ],
      containers: [
        pods.container({
          env: [{ name: 'A', valueFrom: { fileKeyRef: { volumeName: 'config', path: 'env', key: 'root' } } }] as never,
        }),
      ],
    });
    const pod = await pods.until(
      'refused',
      'way-out',
      (one) => containerOf(one)?.state?.waiting?.reason === 'CreateContainerConfigError',
    );
    assert.match(containerOf(pod)?.state?.waiting?.message ?? '', /leaves the volume/);
    await pods.remove('way-out');
  });

  test('a container that the runtime lost counts as ended with 137, and is started anew', async () => {
    await pods.create('lost');
    const first = await pods.untilReady('lost');
    await cri.removeContainer({ containerId: criId(first) });
    const pod = await pods.until('started anew', 'lost', (one) => isReady(one) && containerOf(one)?.restartCount === 1);
    const end = terminatedBefore(pod);
    assert.equal(end?.exitCode, 137);
    assert.match(end?.reason ?? '', /^(ContainerStatusUnknown|Error)$/);
    await pods.remove('lost');
  });

  test('a pod whose sandbox is gone gets another: init containers run again, the apps are restarted', async () => {
    const { volumes, volumeMounts } = notes();
    await pods.create('resandboxed', {
      volumes,
      initContainers: [pods.container({ name: 'init', script: 'echo init >> /notes/sandbox', volumeMounts })],
    });
    const first = await pods.untilReady('resandboxed');
    const { items } = await cri.listPodSandbox({
      filter: { labelSelector: { 'io.kubernetes.pod.name': 'resandboxed' } },
    });
    await cri.stopPodSandbox({ podSandboxId: items[0]!.id });
    const pod = await pods.until(
      'restarted',
      'resandboxed',
      (one) => isReady(one) && containerOf(one)?.restartCount === 1,
    );
    await untilNotes('sandbox', ['init', 'init']);
    assert.notEqual(containerOf(pod)?.containerID, containerOf(first)?.containerID);
    await pods.untilEvent('resandboxed', 'SandboxChanged', /^Pod sandbox changed, it will be killed and re-created\.$/);
    await pods.remove('resandboxed');
  });

  test('a job whose sandbox is gone after its end is not run again', async () => {
    await pods.create('job-done', { restartPolicy: 'Never', containers: [pods.container({ script: 'exit 0' })] });
    await pods.until('Succeeded', 'job-done', ({ status }) => status?.phase === 'Succeeded');
    const { items } = await cri.listPodSandbox({ filter: { labelSelector: { 'io.kubernetes.pod.name': 'job-done' } } });
    for (const { id } of items) await cri.removePodSandbox({ podSandboxId: id });
    await pods.client.patch(
      resources.pods,
      'job-done',
      { metadata: { labels: { touched: 'yes' } } },
      { namespace, type: 'merge' },
    );
    await pods.until('touched', 'job-done', ({ metadata }) => metadata.labels?.['touched']);
    const again = await cri.listPodSandbox({ filter: { labelSelector: { 'io.kubernetes.pod.name': 'job-done' } } });
    assert.equal(again.items.length, 0);
    await pods.remove('job-done');
  });

  test('events tell the start of a container step by step, and point at it', async () => {
    await pods.create('told');
    await pods.untilReady('told');
    await pods.untilEvent('told', 'Started', /^Started container main$/);
    const own = pods.events('told').filter(({ fieldPath }) => fieldPath === 'spec.containers{main}');
    const reasons = own.map(({ reason }) => reason);
    for (const reason of ['Pulled', 'Created', 'Started']) assert.ok(reasons.includes(reason), reasons.join());
    assert.ok(own.some(({ message }) => message === 'Created container: main'));
    await pods.remove('told');
  });

  test('a runtime pod that nobody knows is ended', async () => {
    const metadata = { name: 'nobody', namespace, uid: 'uid-of-nobody', attempt: 0 };
    const labels = {
      'io.kubernetes.pod.name': 'nobody',
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': metadata.uid,
    };
    await cri.runPodSandbox({ config: { metadata, labels, linux: {} } });
    await pollUntil(
      'its end',
      async () => (await cri.listPodSandbox({ filter: { labelSelector: labels } })).items.length === 0,
      { timeoutMs: 15_000, intervalMs: 100 },
    );
  });

  test('a server that never answers a pull does not hold up other pods', async () => {
    const sockets = new Set<{ destroy(): void }>();
    const silent = createTcpServer((socket) => sockets.add(socket));
    const port = await new Promise<number>((resolve) => {
      silent.listen(0, '127.0.0.1', () => resolve((silent.address() as { port: number }).port));
    });
    try {
      await pods.create('stuck', { containers: [pods.container({ image: `127.0.0.1:${port}/never/comes:v1` })] });
      await pods.untilEvent('stuck', 'Pulling');
      await pods.create('goes-on');
      await pods.untilReady('goes-on');
      await Promise.all([pods.remove('stuck'), pods.remove('goes-on')]);
    } finally {
      for (const one of sockets) one.destroy();
      silent.close();
    }
  });
});

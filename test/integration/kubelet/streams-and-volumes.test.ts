/** Exec, port-forward, logs and volumes of pods, with stock kubectl in each of its dialects. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { start } from '../../support/processes.ts';

/** How kubectl is told to talk: WebSocket first (its default), or SPDY. */
const dialects = {
  WebSocket: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'true', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'true' },
  SPDY: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' },
};

const objects = (image: string): object[] => [
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'settings' },
    data: { 'a.txt': 'one', 'b.txt': 'two' },
    binaryData: { raw: 'AAEC' },
  },
  { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key' }, stringData: { password: 'swordfish' } },
  {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'box', labels: { tier: 'first' }, annotations: { note: 'hello' } },
    spec: {
      terminationGracePeriodSeconds: 1,
      securityContext: { fsGroup: 2000 },
      containers: [
        {
          name: 'main',
          image,
          command: [
            'sh',
            '-c',
            'i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); done; trap "exit 0" TERM; httpd -p 8080 -h /config; sleep 3600 & wait',
          ],
          resources: { limits: { cpu: '500m', memory: '64Mi' }, requests: { cpu: '100m', memory: '32Mi' } },
          volumeMounts: [
            { name: 'config', mountPath: '/config' },
            { name: 'config', mountPath: '/single.txt', subPath: 'a.txt' },
            { name: 'secret', mountPath: '/secret' },
            { name: 'disk', mountPath: '/disk' },
            { name: 'disk', mountPath: '/named', subPathExpr: 'of-$(NAME)' },
            { name: 'memory', mountPath: '/memory' },
            { name: 'about', mountPath: '/about' },
            { name: 'all', mountPath: '/all' },
          ],
          env: [{ name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
        },
      ],
      volumes: [
        { name: 'config', configMap: { name: 'settings' } },
        {
          name: 'secret',
          secret: { secretName: 'key', defaultMode: 0o400, items: [{ key: 'password', path: 'deep/password' }] },
        },
        { name: 'disk', emptyDir: {} },
        { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '8Mi' } },
        {
          name: 'about',
          downwardAPI: {
            items: [
              { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
              {
                path: 'memory',
                resourceFieldRef: { containerName: 'main', resource: 'limits.memory', divisor: '1Mi' },
              },
            ],
          },
        },
        {
          name: 'all',
          projected: {
            sources: [
              { serviceAccountToken: { path: 'token', audience: 'somebody', expirationSeconds: 600 } },
              { configMap: { name: 'settings', items: [{ key: 'a.txt', path: 'from-map' }] } },
              { secret: { name: 'absent', optional: true } },
              { downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
            ],
          },
        },
      ],
    },
  },
];

const eventually = (what: string, attempt: () => Promise<boolean>) =>
  pollUntil(what, attempt, { timeoutMs: 20_000, intervalMs: 100 });

describe('a pod seen through the kubelet', () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  const exec = (...command: string[]) => cluster.kubectl(['exec', 'box', '--', ...command]);
  const apply = (...all: object[]) =>
    cluster.kubectl(['apply', '-f', '-'], { input: all.map((one) => JSON.stringify(one)).join('\n') });

  before(async () => {
    cluster = await Cluster.start('kstreams');
    registry = await DemoRegistry.start(cluster.namespace);
    await apply(...objects(registry.image('v1')));
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/box', '--timeout=60s']);
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  for (const [name, environment] of Object.entries(dialects)) {
    test(`exec over ${name}: output, exit code, input of some size`, async () => {
      const both = await cluster.tryKubectl(['exec', 'box', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'], {
        environment,
      });
      assert.equal(both.stdout, 'out\n');
      // A busy kubectl may get the first, empty message before it has its streams, and says so.
      assert.match(both.stderr, /^(E.*Unknown stream id 1, discarding message\n)?err\n/);
      assert.equal(both.status, 7);
      const input = 'x'.repeat(99).concat('\n').repeat(20_000);
      const echoed = await cluster.tryKubectl(['exec', '-i', 'box', '--', 'cat'], { environment, input });
      assert.ok(
        echoed.stdout === input,
        `${echoed.stdout.length} of ${input.length} bytes came back: ${echoed.stderr}`,
      );
      const missing = await cluster.tryKubectl(['exec', 'box', '--', 'no-such-program'], { environment });
      assert.notEqual(missing.status, 0);
      assert.match(missing.stderr, /no-such-program/);
    });

    test(`port-forward over ${name}`, async () => {
      const local = name === 'SPDY' ? 18_081 : 18_082;
      const forward = start(
        [...cluster.namespace.enter(), ...['kubectl', 'port-forward', 'pod/box', `${local}:8080`]],
        {
          ...environment,
          KUBECONFIG: join(cluster.dataDirectory, 'admin.conf'),
        },
      );
      try {
        await eventually('an answer', async () => {
          const { stdout } = await cluster.namespace.run(['curl', '-s', `http://127.0.0.1:${local}/a.txt`]);
          return stdout === 'one';
        });
      } finally {
        forward.kill();
      }
    });
  }

  test('logs: the end, the first bytes, times, and following', async () => {
    assert.equal(await cluster.kubectl(['logs', 'box', '--tail=2']), 'line 18\nline 19\n');
    assert.equal(await cluster.kubectl(['logs', 'box', '--limit-bytes=6']), 'line 0');
    assert.match(
      await cluster.kubectl(['logs', 'box', '--timestamps', '--tail=1']),
      /^\d{4}-\d\d-\d\dT\S+Z line 19\n$/,
    );
    assert.equal(await cluster.kubectl(['logs', 'box', '--since=1h', '--tail=1']), 'line 19\n');
    const script = 'for i in 1 2 3; do echo $i; sleep 0.4; done';
    await cluster.kubectl([
      'run',
      'brief',
      '--restart=Never',
      `--image=${registry.image('v1')}`,
      '--command',
      '--',
      'sh',
      '-c',
      script,
    ]);
    await cluster.kubectl(['wait', '--for=jsonpath={.status.phase}=Running', 'pod/brief', '--timeout=30s']);
    assert.equal(
      await cluster.kubectl(['logs', 'brief', '--follow'], { timeoutMs: 10_000 }),
      '1\n2\n3\n',
      'it ends with the container',
    );
    const absent = await cluster.tryKubectl(['logs', 'box', '-c', 'other']);
    assert.match(absent.stderr, /container other is not valid for pod box/);
    const previous = await cluster.tryKubectl(['logs', 'box', '--previous']);
    assert.match(previous.stderr, /previous terminated container "main" in pod "box" not found/);
  });

  test('volumes have their content, modes and owners', async () => {
    assert.equal(await exec('cat', '/config/a.txt', '/config/b.txt', '/single.txt'), 'onetwoone');
    assert.equal(
      await exec('sh', '-c', 'cat /secret/deep/password; stat -L -c %a:%g /secret/deep/password'),
      'swordfish440:2000\n',
    );
    assert.equal(await exec('sh', '-c', 'stat -c %a:%g /disk'), '2777:2000\n');
    assert.match(await exec('sh', '-c', 'df -m /memory'), /\s8\s+0\s+8\s/);
    assert.match(await exec('cat', '/about/labels'), /^tier="first"\n?$/);
    assert.equal(await exec('cat', '/about/memory'), '64');
    assert.equal(await exec('cat', '/all/from-map', '/all/name'), 'onebox');
    const claims = JSON.parse(Buffer.from((await exec('cat', '/all/token')).split('.')[1]!, 'base64url').toString());
    assert.deepEqual(claims.aud, ['somebody']);
    assert.equal(claims['kubernetes.io'].pod.name, 'box');
    await exec('sh', '-c', 'echo kept > /named/file');
    assert.equal(await exec('cat', '/disk/of-box/file'), 'kept\n');
  });

  test('volumes follow their objects', async () => {
    await cluster.kubectl(['patch', 'configmap', 'settings', '--type=merge', '-p', '{"data":{"a.txt":"three"}}']);
    await cluster.kubectl(['label', 'pod', 'box', 'tier=second', '--overwrite']);
    await eventually(
      'the new content',
      async () => (await exec('cat', '/config/a.txt', '/all/from-map')) === 'threethree',
    );
    await eventually('the new label', async () => (await exec('cat', '/about/labels')).includes('"second"'));
    assert.equal(await exec('cat', '/single.txt'), 'one', 'a subPath stays as it was');
  });

  test('a pod waits for what is missing and says so', async () => {
    const [, , box] = objects(registry.image('v1')) as any[];
    const waiting = {
      ...box,
      metadata: { name: 'waiting' },
      spec: {
        containers: [{ ...box.spec.containers[0], volumeMounts: [{ name: 'late', mountPath: '/late' }], env: [] }],
        volumes: [{ name: 'late', configMap: { name: 'late' } }],
      },
    };
    await apply(waiting);
    await eventually('the event', async () => {
      const events = await cluster.kubectl([
        'get',
        'events',
        '--field-selector=involvedObject.name=waiting,reason=FailedMount',
      ]);
      return /MountVolume.SetUp failed for volume "late" : configmap "late" not found/.test(events);
    });
    await cluster.kubectl(['create', 'configmap', 'late', '--from-literal=a=b']);
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/waiting', '--timeout=60s']);
    await cluster.kubectl(['delete', 'pod', 'waiting', '--now']);
  });

  test('statistics, pods and metrics are told to those who may', async () => {
    const raw = (path: string) => cluster.kubectl(['get', '--raw', `/api/v1/nodes/node-1/proxy/${path}`]);
    const summary = JSON.parse(await raw('stats/summary'));
    const box = summary.pods.find(({ podRef }: any) => podRef.name === 'box');
    assert.ok(box.containers[0].memory.workingSetBytes > 0);
    assert.match(await raw('metrics/resource'), /container_memory_working_set_bytes\{[^}]*pod="box"/);
    assert.ok(JSON.parse(await raw('pods')).items.some((pod: any) => pod.metadata.name === 'box'));
    const stranger = await cluster.namespace.run([
      'curl',
      '-sk',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      'https://127.0.0.1:10250/pods',
    ]);
    assert.equal(stranger.stdout, '401');
  });

  test('a pod that is gone leaves no volume, mount or cgroup', async () => {
    const { uid } = (await cluster.get('pod', 'box')).metadata;
    await cluster.kubectl(['delete', 'pod', 'box', '--wait']);
    const { stdout: mounts } = await cluster.namespace.run(['cat', '/proc/mounts']);
    assert.ok(!mounts.includes(uid));
    const left = await cluster.namespace.run(['find', '/sys/fs/cgroup', '-maxdepth', '7', '-name', `*${uid}*`]);
    assert.equal(left.stdout, '');
    const found = await cluster.namespace.run(['find', cluster.dataDirectory, '-maxdepth', '5', '-name', uid]);
    assert.equal(found.stdout, '');
  });
});

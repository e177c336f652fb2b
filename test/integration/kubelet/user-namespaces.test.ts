/** Pods with users of their own (hostUsers: false). */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { resources } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { containerOf, PodDriver } from '../../support/pod-driver.ts';

const idsPerPod = 131_072;

describe('pods with users of their own', () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;
  let root: string;
  let missing: string | undefined;

  before(async () => {
    cluster = await Cluster.withKubelet('kusers', { userNamespaces: { idsPerPod } });
    root = join(cluster.dataDirectory, 'kubelet');
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
    const { runtimeHandlers = [] } = (await cluster.get('node', 'node-1')).status;
    if (!runtimeHandlers.find(({ name = '' }: any) => name === '')?.features?.userNamespaces)
      missing = 'the kernel or the file system has no user namespaces with id-mapped mounts';
  });
  after(async () => {
    await pods?.stop();
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const uidOf = (name: string): string => pods.get(name)!.metadata.uid;
  /** The first id of the range that a pod has, as its directory tells. */
  const rangeOf = async (name: string): Promise<number> => {
    const { uidMappings, gidMappings } = JSON.parse(await readFile(join(root, 'pods', uidOf(name), 'userns'), 'utf8'));
    assert.deepEqual(uidMappings, gidMappings);
    assert.deepEqual([uidMappings[0].containerId, uidMappings[0].length], [0, idsPerPod]);
    return uidMappings[0].hostId;
  };
  const mapOf = async (name: string): Promise<number[]> =>
    (await pods.exec(name, ['cat', '/proc/self/uid_map'])).trim().split(/\s+/).map(Number);
  const own = (container: object = {}, spec: object = {}) => ({
    hostUsers: false,
    containers: [pods.container(container)],
    ...spec,
  });

  test('root of the pod is nobody of the node, and its volumes are its own', async (t) => {
    if (missing) return t.skip(missing);
    await pods.client.create(
      resources.configmaps,
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'text' }, data: { file: 'hello' } } as never,
      { namespace: 'default' },
    );
    await pods.create(
      'alone',
      own(
        {
          volumeMounts: [
            { name: 'scratch', mountPath: '/scratch' },
            { name: 'text', mountPath: '/text' },
          ],
        },
        {
          securityContext: { fsGroup: 4000 },
          volumes: [
            { name: 'scratch', emptyDir: {} },
            { name: 'text', configMap: { name: 'text' } },
          ],
        },
      ),
    );
    await pods.untilReady('alone');
    const first = await rangeOf('alone');
    assert.equal(first % idsPerPod, 0);
    assert.ok(first >= idsPerPod);
    assert.deepEqual(await mapOf('alone'), [0, first, idsPerPod]);
    assert.equal(await pods.exec('alone', ['cat', '/text/file']), 'hello');
    assert.match(await pods.exec('alone', ['cat', '/var/run/secrets/kubernetes.io/serviceaccount/token']), /^ey/);
    assert.match(await pods.exec('alone', ['cat', '/etc/hosts']), /alone/);
    await pods.exec('alone', ['touch', '/scratch/made']);
    const made = await stat(join(root, 'pods', uidOf('alone'), 'volumes/kubernetes.io~empty-dir/scratch/made'));
    // Inside it belongs to root and to the group, and so it does on the node: the mount maps, not the files.
    assert.deepEqual([made.uid, made.gid], [0, 4000]);
    assert.match(await pods.exec('alone', ['ls', '-ln', '/scratch/made']), / 0 +4000 /);
    await assert.rejects(pods.exec('alone', ['sh', '-c', 'echo 1 > /proc/sys/kernel/panic']));
  });

  test('no two pods have the same ids, and what a pod had is free when it has gone', async (t) => {
    if (missing) return t.skip(missing);
    await Promise.all(['two-a', 'two-b'].map((name) => pods.create(name, own())));
    await Promise.all([pods.untilReady('two-a'), pods.untilReady('two-b')]);
    const [a, b] = [await rangeOf('two-a'), await rangeOf('two-b')];
    assert.notEqual(a, b);
    const lower = Math.min(a, b);
    await pods.remove(a < b ? 'two-a' : 'two-b');
    await pods.create('two-c', own());
    await pods.untilReady('two-c');
    assert.equal(await rangeOf('two-c'), lower);
  });

  test('a pod keeps its ids through restarts of its container and of the kubelet', async (t) => {
    if (missing) return t.skip(missing);
    await pods.create('keeps', own());
    await pods.untilReady('keeps');
    const first = await rangeOf('keeps');
    const before = await cluster.pidOf('kubelet');
    process.kill(before, 'SIGKILL');
    await pollUntil('another kubelet', async () => (await cluster.pidOf('kubelet')) !== before, { timeoutMs: 30_000 });
    await pods.create('later', own());
    await pods.untilReady('later');
    assert.notEqual(await rangeOf('later'), first);
    // The command may end with the container that it ends.
    await pods.exec('keeps', ['kill', '-TERM', '1']).catch(() => {});
    await pods.until(
      'a restart',
      'keeps',
      (pod) => (containerOf(pod)?.restartCount ?? 0) > 0 && containerOf(pod)?.state?.running,
    );
    assert.deepEqual(await mapOf('keeps'), [0, first, idsPerPod]);
  });

  test('a pod with users of its own may see all of /proc', async (t) => {
    if (missing) return t.skip(missing);
    await pods.create('unmasked', own({ securityContext: { procMount: 'Unmasked' } }));
    await pods.untilReady('unmasked');
    const mounts = await pods.exec('unmasked', ['cat', '/proc/self/mountinfo']);
    assert.deepEqual(
      mounts.split('\n').filter((line) => / \/proc\/\S/.test(line)),
      [],
    );
  });

  test('a handler that cannot do it is said so, and the pod never runs as others do', async () => {
    await pods.client.create(resources.runtimeclasses, {
      apiVersion: 'node.k8s.io/v1',
      kind: 'RuntimeClass',
      metadata: { name: 'strange' },
      handler: 'strange',
    } as never);
    await pods.create('impossible', own({}, { runtimeClassName: 'strange' }));
    await pods.untilEvent(
      'impossible',
      'FailedCreatePodSandBox',
      /can't set `spec.hostUsers: false`, RuntimeClass handler "strange" does not support user namespaces/,
    );
    assert.equal(containerOf(pods.get('impossible'))?.state?.running, undefined);
  });

  test('other pods have the users of the node', async () => {
    await pods.create('plain');
    await pods.untilReady('plain');
    assert.deepEqual((await mapOf('plain')).slice(0, 2), [0, 0]);
  });

  test('the runtime is told the range of pod addresses of this node', async () => {
    const range = (await cluster.get('node', 'node-1')).spec.podCIDR as string;
    const log = await readFile(join(cluster.dataDirectory, 'deckhand.log'), 'utf8');
    assert.match(log, new RegExp(`the runtime knows the range of pod addresses range=${range.replaceAll('.', '\\.')}`));
  });
});

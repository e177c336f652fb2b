/** Scheduler and controllers together against our API server, in one process; pods are made ready by hand. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type ApiObject, type Deployment, type Node, type Pod, type Resource, resources } from '../../src/api/index.ts';
import { type Component, pollUntil, systemClock } from '../../src/async/index.ts';
import { type ApiClient, createClient, isNotFound } from '../../src/client/index.ts';
import { createExtensions, Informers, startControllers, startScheduler } from '../../src/controlplane/index.ts';
import { startTestApiServer, type TestApiServer, testLogger } from '../support/apiserver.ts';

let server: TestApiServer;
let client: ApiClient;
let components: Component[];
let shared: Informers;
let kubelet: { stop(): void };

before(async () => {
  // Everything of the real server but who may do what.
  const {
    authenticators: _who,
    authorizer: _may,
    ...extensions
  } = createExtensions(
    {
      serviceCidrs: ['10.96.0.0/16'],
      advertise: { address: '127.0.0.1', port: 6443 },
      serviceAccountKey: generateKeyPairSync('ec', {
        namedCurve: 'P-256',
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
        publicKeyEncoding: { type: 'spki', format: 'pem' },
      }).privateKey,
    },
    { log: testLogger(), clock: systemClock },
  );
  server = await startTestApiServer({ extensions });
  client = createClient({ server: server.url, ca: server.ca });
  const context = { log: testLogger(), clock: systemClock };
  shared = new Informers(client, context);
  components = [
    startScheduler({ client, informers: shared }, context),
    startControllers({ client, informers: shared, podCidr: '10.244.0.0/16', rootCa: 'ca' }, context),
  ];
  await Promise.all(components.map(({ ready }) => ready));
  kubelet = actAsKubelet();
});
after(async () => {
  kubelet?.stop();
  await Promise.all((components ?? []).map((component) => component.stop()));
  shared?.stop();
  client?.close();
  await server?.stop();
});

/** Makes bound pods ready and lets deleted ones go, as a kubelet would. */
function actAsKubelet(): { stop(): void } {
  const informers = new Informers(client, { log: testLogger(), clock: systemClock });
  let next = 1;
  const started = new Set<string>();
  const pods = informers.store(resources.pods);
  pods.subscribe((_key, now) => {
    if (!now?.spec.nodeName) return;
    const { namespace = '', name, uid } = now.metadata;
    if (now.metadata.deletionTimestamp) {
      void client.delete(resources.pods, name, { namespace, uid, gracePeriodSeconds: 0 }).catch(() => {});
    } else if (!now.status?.podIP && !started.has(uid)) {
      started.add(uid);
      void client
        .patch(
          resources.pods,
          name,
          { status: readyStatus(`10.244.0.${next++}`) },
          { namespace, type: 'strategic', subresource: 'status' },
        )
        .catch(() => {});
    }
  });
  return informers;
}
function readyStatus(podIP: string): Pod['status'] {
  const lastTransitionTime = new Date(systemClock.now()).toISOString();
  return {
    phase: 'Running',
    podIP,
    podIPs: [{ ip: podIP }],
    conditions: [{ type: 'Ready', status: 'True', lastTransitionTime }],
  };
}
async function addNode(name: string, more: Partial<Node['spec']> = {}): Promise<void> {
  await client.create(resources.nodes, {
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    spec: { ...more },
  });
  const status = {
    allocatable: { cpu: '8', memory: '16Gi', pods: '500' },
    conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: new Date(systemClock.now()).toISOString() }],
  };
  await client.patch(resources.nodes, name, { status }, { type: 'merge', subresource: 'status' });
}
function deployment(name: string, image: string, replicas = 3, namespace = 'default'): any {
  const labels = { app: name };
  return {
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'c', image }], terminationGracePeriodSeconds: 1 },
      },
    },
  };
}
async function until<T extends ApiObject>(
  what: string,
  resource: Resource<T>,
  name: string,
  test: (object: T) => boolean,
  namespace = 'default',
): Promise<T> {
  return pollUntil(
    what,
    async () => {
      const object = await client.get(resource, name, resource.namespaced ? { namespace } : {}).catch((error) => {
        if (isNotFound(error)) return undefined;
        throw error;
      });
      return object && test(object) ? object : undefined;
    },
    { timeoutMs: 10_000, intervalMs: 20 },
  );
}
async function gone(resource: Resource<any>, name: string, namespace = 'default'): Promise<void> {
  await pollUntil(
    `${resource.kind} ${name} gone`,
    async () => {
      try {
        await client.get(resource, name, resource.namespaced ? { namespace } : {});
        return false;
      } catch (error) {
        if (isNotFound(error)) return true;
        throw error;
      }
    },
    { timeoutMs: 10_000, intervalMs: 20 },
  );
}
const available = (count: number) => (object: Deployment) =>
  object.status?.availableReplicas === count &&
  object.status.updatedReplicas === count &&
  object.status.replicas === count &&
  object.status.observedGeneration === object.metadata.generation;

test('a node gets its part of the pod addresses and loses the initial taint', async () => {
  await addNode('n1', { taints: [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }] });
  const node = await until(
    'addresses',
    resources.nodes,
    'n1',
    ({ spec }) => Boolean(spec?.podCIDR) && !spec?.taints?.length,
  );
  assert.deepEqual(node.spec?.podCIDRs, ['10.244.0.0/24']);
});

test('every namespace has its service account and the CA', async () => {
  await until('account', resources.serviceaccounts, 'default', () => true);
  const map = await until('ca', resources.configmaps, 'kube-root-ca.crt', () => true);
  assert.equal(map.data?.['ca.crt'], 'ca');
});

test('a Deployment rolls out, scales, is rolled back, and takes everything with it', async () => {
  await client.create(resources.deployments, deployment('web', 'v1'));
  await client.create(resources.services, {
    metadata: { name: 'web', namespace: 'default' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const first = await until('3 available', resources.deployments, 'web', available(3));
  assert.equal(first.metadata.annotations?.['deployment.kubernetes.io/revision'], '1');
  const progressing = first.status?.conditions?.find(({ type }) => type === 'Progressing');
  assert.equal(progressing?.reason, 'NewReplicaSetAvailable');
  await pollUntil(
    'endpoints',
    async () => {
      const { items } = await client.list(resources.endpointslices, {
        namespace: 'default',
        labelSelector: 'kubernetes.io/service-name=web',
      });
      return (
        items.length === 1 &&
        items[0]!.endpoints?.length === 3 &&
        items[0]!.endpoints.every(({ conditions }) => conditions?.ready)
      );
    },
    { timeoutMs: 5_000 },
  );
  const legacy = await until(
    'legacy endpoints',
    resources.endpoints,
    'web',
    ({ subsets }) => subsets?.[0]?.addresses?.length === 3,
  );
  assert.deepEqual(legacy.subsets?.[0]?.ports, [{ port: 8080, protocol: 'TCP' }]);

  const image = (value: string) => ({ spec: { template: { spec: { containers: [{ name: 'c', image: value }] } } } });
  await client.patch(resources.deployments, 'web', image('v2'), { namespace: 'default', type: 'merge' });
  const second = await until('v2', resources.deployments, 'web', available(3));
  assert.equal(second.metadata.annotations?.['deployment.kubernetes.io/revision'], '2');
  await client.patch(resources.deployments, 'web', { spec: { replicas: 5 } }, { namespace: 'default', type: 'merge' });
  await until('5', resources.deployments, 'web', available(5));
  await client.patch(resources.deployments, 'web', image('v1'), { namespace: 'default', type: 'merge' });
  const third = await until('v1 again', resources.deployments, 'web', available(5));
  assert.equal(third.metadata.annotations?.['deployment.kubernetes.io/revision'], '3');
  const sets = await client.list(resources.replicasets, { namespace: 'default' });
  assert.equal(sets.items.length, 2, 'the old ReplicaSet is used again');
  await client.delete(resources.deployments, 'web', { namespace: 'default', propagationPolicy: 'Background' });
  await pollUntil(
    'all gone',
    async () => {
      const lists = await Promise.all(
        [resources.replicasets, resources.pods].map((one) =>
          client.list(one as typeof resources.pods, { namespace: 'default' }),
        ),
      );
      return lists.every(({ items }) => items.length === 0);
    },
    { timeoutMs: 10_000 },
  );
  await client.delete(resources.services, 'web', { namespace: 'default' });
  await gone(resources.endpoints, 'web');
});

test('a ReplicaSet replaces pods and never makes too many', async () => {
  const seen = new Set<string>();
  const informers = new Informers(client, { log: testLogger(), clock: systemClock });
  informers
    .store(resources.pods)
    .subscribe((_key, now) => now?.metadata.labels?.['app'] === 'many' && seen.add(now.metadata.uid));
  await informers.synced();
  await client.create(resources.deployments, deployment('many', 'v1', 40));
  await until('40', resources.deployments, 'many', available(40));
  assert.equal(seen.size, 40);
  await client.patch(resources.deployments, 'many', { spec: { replicas: 2 } }, { namespace: 'default', type: 'merge' });
  await until('2', resources.deployments, 'many', available(2));
  await client.delete(resources.deployments, 'many', { namespace: 'default', propagationPolicy: 'Foreground' });
  await gone(resources.deployments, 'many');
  const { items } = await client.list(resources.pods, { namespace: 'default', labelSelector: 'app=many' });
  assert.equal(items.filter(({ metadata }) => !metadata.deletionTimestamp).length, 0);
  informers.stop();
});

test('orphaned ReplicaSets keep their pods', async () => {
  await client.create(resources.deployments, deployment('orphan', 'v1', 2));
  await until('2', resources.deployments, 'orphan', available(2));
  await client.delete(resources.deployments, 'orphan', { namespace: 'default', propagationPolicy: 'Orphan' });
  await gone(resources.deployments, 'orphan');
  const { items } = await client.list(resources.replicasets, { namespace: 'default', labelSelector: 'app=orphan' });
  assert.equal(items.length, 1);
  assert.deepEqual(items[0]!.metadata.ownerReferences ?? [], []);
  await client.delete(resources.replicasets, items[0]!.metadata.name, {
    namespace: 'default',
    propagationPolicy: 'Background',
  });
});

test('a dependent made after its owner was deleted goes too', async () => {
  const owner = await client.create(resources.configmaps, { metadata: { name: 'owner', namespace: 'default' } });
  await client.delete(resources.configmaps, 'owner', { namespace: 'default' });
  const reference = { apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: owner.metadata.uid };
  await client.create(resources.configmaps, {
    metadata: { name: 'late', namespace: 'default', ownerReferences: [reference] },
  });
  await gone(resources.configmaps, 'late');
});

test('a DaemonSet has one pod on each node, also on one that comes later', async () => {
  const labels = { app: 'daemon' };
  await client.create(resources.daemonsets, {
    metadata: { name: 'daemon', namespace: 'default' },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'v1' }] } },
    },
  });
  await until('one', resources.daemonsets, 'daemon', ({ status }) => status?.numberReady === 1);
  await addNode('n2');
  await until('two', resources.daemonsets, 'daemon', ({ status }) => status?.numberReady === 2);
  await client.patch(
    resources.daemonsets,
    'daemon',
    { spec: { template: { metadata: { annotations: { a: 'b' } } } } },
    { namespace: 'default', type: 'merge' },
  );
  await until(
    'rolled',
    resources.daemonsets,
    'daemon',
    ({ status, metadata }) =>
      status?.updatedNumberScheduled === 2 &&
      status.numberReady === 2 &&
      status.observedGeneration === metadata.generation,
  );
  await client.delete(resources.daemonsets, 'daemon', { namespace: 'default', propagationPolicy: 'Background' });
  await gone(resources.daemonsets, 'daemon');
});

test('a pod that fits nowhere is told so, and placed when a node comes that fits', async () => {
  await client.create(resources.pods, {
    metadata: { name: 'picky', namespace: 'default' },
    spec: { nodeSelector: { special: 'yes' }, containers: [{ name: 'c', image: 'v1' }] },
  } as never);
  const pod = await until('condition', resources.pods, 'picky', ({ status }) => Boolean(status?.conditions?.length));
  const condition = pod.status!.conditions!.find(({ type }) => type === 'PodScheduled')!;
  assert.equal(condition.reason, 'Unschedulable');
  assert.match(
    condition.message!,
    /^0\/2 nodes are available: 2 node\(s\) didn't match Pod's node affinity\/selector\. preemption:/,
  );
  await client.patch(resources.nodes, 'n1', { metadata: { labels: { special: 'yes' } } }, { type: 'merge' });
  const placed = await until('place', resources.pods, 'picky', ({ spec }) => Boolean(spec.nodeName));
  assert.equal(placed.spec.nodeName, 'n1');
  await client.delete(resources.pods, 'picky', { namespace: 'default', gracePeriodSeconds: 0 });
});

test('a namespace takes its content with it', async () => {
  await client.create(resources.namespaces, { metadata: { name: 'short' }, spec: { finalizers: ['kubernetes'] } });
  await until('account', resources.serviceaccounts, 'default', () => true, 'short');
  await client.create(resources.deployments, deployment('web', 'v1', 2, 'short'));
  await until('2', resources.deployments, 'web', available(2), 'short');
  await client.delete(resources.namespaces, 'short');
  await gone(resources.namespaces, 'short');
  const { items } = await client.list(resources.pods, { namespace: 'short' });
  assert.equal(items.length, 0);
});

test('a StatefulSet makes its pods in order, each with a name, and updates from the last', async () => {
  const labels = { app: 'state' };
  const spec = (image: string): any => ({
    serviceName: 'state',
    replicas: 3,
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [{ name: 'c', image }] } },
  });
  await client.create(resources.statefulsets, { metadata: { name: 'state', namespace: 'default' }, spec: spec('v1') });
  await until('three', resources.statefulsets, 'state', ({ status }) => status?.readyReplicas === 3);
  const pod = await client.get(resources.pods, 'state-2', { namespace: 'default' });
  assert.equal(pod.spec.hostname, 'state-2');
  assert.equal(pod.spec.subdomain, 'state');
  await client.patch(resources.statefulsets, 'state', { spec: spec('v2') }, { namespace: 'default', type: 'merge' });
  const done = await until(
    'v2',
    resources.statefulsets,
    'state',
    ({ status, metadata }) =>
      status?.updatedReplicas === 3 && status.readyReplicas === 3 && status.observedGeneration === metadata.generation,
  );
  assert.equal(done.status?.currentRevision, done.status?.updateRevision);
  assert.equal((await client.get(resources.pods, 'state-0', { namespace: 'default' })).spec.containers[0]!.image, 'v2');
  await client.patch(
    resources.statefulsets,
    'state',
    { spec: { replicas: 0 } },
    { namespace: 'default', type: 'merge' },
  );
  await until('none', resources.statefulsets, 'state', ({ status }) => status?.replicas === 0);
  await client.delete(resources.statefulsets, 'state', { namespace: 'default', propagationPolicy: 'Background' });
});

/** Ends the pods of a Job as they start. */
async function finishPods(label: string, phase: 'Succeeded' | 'Failed', count: number): Promise<void> {
  const seen = new Set<string>();
  await pollUntil(
    `${count} pods ${phase}`,
    async () => {
      const { items } = await client.list(resources.pods, { namespace: 'default', labelSelector: `job=${label}` });
      for (const { metadata, status } of items) {
        if (status?.phase !== 'Running' || seen.has(metadata.uid)) continue;
        await client.patch(
          resources.pods,
          metadata.name,
          { status: { phase } },
          { namespace: 'default', type: 'merge', subresource: 'status' },
        );
        seen.add(metadata.uid);
      }
      return seen.size >= count;
    },
    { timeoutMs: 10_000, intervalMs: 20 },
  );
}
function job(name: string, more: object = {}): any {
  const labels = { job: name };
  return {
    metadata: { name, namespace: 'default' },
    spec: {
      selector: { matchLabels: labels },
      manualSelector: true,
      template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'v1' }] } },
      ...more,
    },
  };
}

test('a Job counts what succeeds, each pod once, and ends', async () => {
  await client.create(resources.jobs, job('three', { completions: 3, parallelism: 2 }));
  await finishPods('three', 'Succeeded', 3);
  const done = await until('complete', resources.jobs, 'three', ({ status }) => Boolean(status?.completionTime));
  assert.equal(done.status?.succeeded, 3);
  assert.equal(done.status?.active, undefined);
  await client.delete(resources.jobs, 'three', { namespace: 'default', propagationPolicy: 'Background' });
  await pollUntil(
    'pods gone',
    async () =>
      (await client.list(resources.pods, { namespace: 'default', labelSelector: 'job=three' })).items.every(
        ({ metadata }) => metadata.deletionTimestamp || !metadata.finalizers?.length,
      ),
    { timeoutMs: 10_000 },
  );
});

test('an indexed Job has every index once; one that fails too often is failed', async () => {
  await client.create(resources.jobs, job('indexed', { completions: 4, parallelism: 4, completionMode: 'Indexed' }));
  await finishPods('indexed', 'Succeeded', 4);
  const done = await until('complete', resources.jobs, 'indexed', ({ status }) => Boolean(status?.completionTime));
  assert.equal(done.status?.completedIndexes, '0-3');
  await client.create(resources.jobs, job('bad', { backoffLimit: 0 }));
  await finishPods('bad', 'Failed', 1);
  const failed = await until('failed', resources.jobs, 'bad', ({ status }) => Boolean(status?.conditions?.length));
  assert.equal(failed.status?.conditions?.find(({ type }) => type === 'Failed')?.reason, 'BackoffLimitExceeded');
});

test('a budget counts what may be disrupted', async () => {
  await client.create(resources.deployments, deployment('guarded', 'v1', 3));
  await until('3', resources.deployments, 'guarded', available(3));
  await client.create(resources.poddisruptionbudgets, {
    metadata: { name: 'guard', namespace: 'default' },
    spec: { maxUnavailable: 1, selector: { matchLabels: { app: 'guarded' } } },
  });
  const { status } = await until(
    'status',
    resources.poddisruptionbudgets,
    'guard',
    (one) => one.status?.currentHealthy === 3,
  );
  assert.equal(status?.desiredHealthy, 2);
  assert.equal(status?.disruptionsAllowed, 1);
});

/** The lives of pods: where they come from, what they are called, their phases and conditions, how they end. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { resources } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { createHttpServer } from '../../../src/wire/http/index.ts';
import type { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { conditionOf, containerOf, isReady, neverBack, PodDriver } from '../../support/pod-driver.ts';
import { SuiteNode } from '../../support/suite-node.ts';
import { processesWith } from '../../support/test-runtime.ts';

const urlPort = 18_321;
const staticPod = (script: string, image: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'from-url' },
  spec: {
    terminationGracePeriodSeconds: 5,
    containers: [{ name: 'main', image, imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', script] }],
  },
});

describe('the lives of pods', { concurrency: 8 }, () => {
  let node: SuiteNode;
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;

  before(async () => {
    node = await SuiteNode.start('klife', async ({ cluster: { dataDirectory } }) => {
      const resolvConf = join(dataDirectory, 'resolv.conf');
      await writeFile(resolvConf, 'nameserver 192.0.2.53\nnameserver 192.0.2.54\n');
      return {
        staticPodURL: `http://127.0.0.1:${urlPort}/pods`,
        staticPodURLHeader: { 'x-who': ['node-1'] },
        httpCheckFrequency: '200ms',
        resolvConf,
      };
    });
    cluster = node.cluster;
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
  });
  after(async () => {
    await pods?.stop();
    for (const versions of pods?.history.values() ?? []) neverBack(versions);
    await registry?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  test('a pull in progress is given up when its pod is deleted, which then has failed', async () => {
    const connections = new Set<{ destroy(): void }>();
    const silent = createTcpServer((socket) => connections.add(socket));
    const port = await new Promise<number>((resolve) => {
      silent.listen(0, '127.0.0.1', () => resolve((silent.address() as { port: number }).port));
    });
    try {
      await pods.create('pulls', { containers: [pods.container({ image: `127.0.0.1:${port}/never/comes:v1` })] });
      await pods.untilEvent('pulls', 'Pulling');
      await pods.remove('pulls');
      const last = pods.history.get('pulls')!.at(-1)!;
      assert.equal(last.status?.phase, 'Failed');
      const end = containerOf(last)?.state?.terminated;
      assert.deepEqual([end?.exitCode, end?.reason], [137, 'ContainerStatusUnknown']);
    } finally {
      for (const one of connections) one.destroy();
      silent.close();
    }
  });

  test('a deleted pod has succeeded when its containers ended well, and failed otherwise', async () => {
    const lastPhase = (name: string) => pods.history.get(name)!.at(-1)!.status?.phase;
    const ends = (code: number) => ({
      containers: [
        pods.container({ ...pods.trapped, script: `trap "exit ${code}" TERM; touch /trapped; sleep 3600 & wait` }),
      ],
    });
    await Promise.all([pods.create('ends-well', ends(0)), pods.create('ends-badly', ends(3))]);
    await Promise.all([pods.untilReady('ends-well'), pods.untilReady('ends-badly')]);
    await Promise.all([pods.remove('ends-well', 10), pods.remove('ends-badly', 10)]);
    assert.deepEqual([lastPhase('ends-well'), lastPhase('ends-badly')], ['Succeeded', 'Failed']);
    const exit = containerOf(pods.history.get('ends-badly')!.at(-1))?.state?.terminated;
    assert.deepEqual([exit?.exitCode, exit?.reason], [3, 'Error']);
    assert.ok(
      pods
        .events('ends-well')
        .some(({ reason, message }) => reason === 'Killing' && message === 'Stopping container main'),
    );
  });

  test('a pod that is deleted by force leaves the API at once, and its processes end', async () => {
    const marker = `marker-${process.pid}-force`;
    await pods.create('forced', {
      containers: [pods.container({ command: ['sh', '-c', `sleep 3600; echo ${marker}`] })],
    });
    await pods.untilReady('forced');
    await pollUntil('its process', () => processesWith(marker).length === 1, { timeoutMs: 5000 });
    await pods.delete('forced', 0);
    await pods.untilGone('forced', 2000);
    await pollUntil('the end of its process', () => processesWith(marker).length === 0, { timeoutMs: 15_000 });
  });

  test('a pod of the name of a deleted one is another: it starts anew', async () => {
    const uids = new Set<string>();
    const containers = new Set<string | undefined>();
    for (let round = 0; round < 3; round++) {
      const { metadata } = await pods.create('again');
      uids.add(metadata.uid);
      const pod = await pods.until('Ready', 'again', (one) => one.metadata.uid === metadata.uid && isReady(one));
      assert.equal(containerOf(pod)?.restartCount, 0);
      containers.add(containerOf(pod)?.containerID);
      await pods.remove('again');
    }
    assert.deepEqual([uids.size, containers.size], [3, 3]);
  });

  test('the time that a pod may be active can be shortened, and ends it in the midst of a hook', async () => {
    const lifecycle = { postStart: { sleep: { seconds: 600 } } };
    await pods.create('limited', { activeDeadlineSeconds: 600, containers: [pods.container({ lifecycle })] });
    await pods.until('running', 'limited', (pod) => containerOf(pod)?.state?.running);
    await pods.client.patch(
      resources.pods,
      'limited',
      { spec: { activeDeadlineSeconds: 1 } },
      { namespace: 'default', type: 'merge' },
    );
    const pod = await pods.until('Failed', 'limited', ({ status }) => status?.phase === 'Failed');
    assert.equal(pod.status?.reason, 'DeadlineExceeded');
    await pods.untilEvent('limited', 'DeadlineExceeded');
    assert.equal(conditionOf(pod, 'Ready')?.reason, 'PodFailed');
  });

  test('a readiness gate keeps a pod from being Ready until somebody sets its condition', async () => {
    const conditionType = 'example.test/gate';
    await pods.create('gated', { readinessGates: [{ conditionType }] });
    const waits = await pods.until(
      'ContainersReady',
      'gated',
      (pod) => conditionOf(pod, 'ContainersReady')?.status === 'True',
    );
    assert.equal(conditionOf(waits, 'Ready')?.reason, 'ReadinessGatesNotReady');
    const set = (status: string) =>
      pods.client.patch(
        resources.pods,
        'gated',
        { status: { conditions: [{ type: conditionType, status }] } },
        { namespace: 'default', type: 'strategic', subresource: 'status' },
      );
    await set('True');
    const ready = await pods.untilReady('gated');
    assert.equal(conditionOf(ready, conditionType)?.status, 'True');
    await set('False');
    await pods.until('not Ready', 'gated', (pod) => !isReady(pod));
    await pods.remove('gated');
  });

  test('observedGeneration follows the spec, on the status and on its conditions', async () => {
    await pods.create('observed');
    const first = await pods.untilReady('observed');
    assert.deepEqual([first.metadata.generation, first.status?.observedGeneration], [1, 1]);
    await pods.client.patch(
      resources.pods,
      'observed',
      { spec: { activeDeadlineSeconds: 3600 } },
      { namespace: 'default', type: 'merge' },
    );
    const then = await pods.until('second generation', 'observed', ({ status }) => status?.observedGeneration === 2);
    await pods.until('conditions too', 'observed', (pod) => conditionOf(pod, 'Ready')?.observedGeneration === 2);
    assert.equal(conditionOf(then, 'Ready')?.lastTransitionTime, conditionOf(first, 'Ready')?.lastTransitionTime);
    await pods.remove('observed');
  });

  test('conditions tell the way to Ready: sandbox, init containers, containers', async () => {
    await pods.create('on-its-way', {
      initContainers: [pods.container({ name: 'init', script: 'sleep 1' })],
      containers: [pods.container()],
    });
    await pods.untilReady('on-its-way');
    const seen = (type: string, status: string) =>
      pods.history.get('on-its-way')!.findIndex((pod) => conditionOf(pod, type)?.status === status);
    const [sandbox, initialised, ready] = ['PodReadyToStartContainers', 'Initialized', 'Ready'].map((type) =>
      seen(type, 'True'),
    );
    assert.ok(sandbox! >= 0 && sandbox! < initialised! && initialised! <= ready!, `${sandbox} ${initialised} ${ready}`);
    const waiting = pods.history.get('on-its-way')![sandbox!]!;
    assert.equal(waiting.status?.phase, 'Pending');
    assert.equal(containerOf(waiting)?.state?.waiting?.reason, 'PodInitializing');
    assert.match(conditionOf(waiting, 'Initialized')?.message ?? '', /incomplete status: \[init\]/);
    await pods.remove('on-its-way');
  });

  test('a static pod comes from a URL, follows it, and its mirror goes after it', async () => {
    const image = registry.image('v1');
    const script = (text: string) => `echo ${text}; trap "sleep 1; exit 0" TERM; while true; do sleep 0.1; done`;
    let answer: object = { apiVersion: 'v1', kind: 'PodList', items: [staticPod(script('first'), image)] };
    const asked = new Set<string>();
    const server = createHttpServer({
      handler: (request, response) => {
        asked.add(String(request.headers['x-who']));
        response.end(JSON.stringify(answer));
      },
    });
    await server.listen({ host: '127.0.0.1', port: urlPort });
    try {
      const first = await pods.untilReady('from-url-node-1');
      assert.deepEqual([...asked], ['node-1']);
      const { annotations = {} } = first.metadata;
      assert.equal(annotations['kubernetes.io/config.source'], 'http');
      assert.equal(annotations['kubernetes.io/config.mirror'], annotations['kubernetes.io/config.hash']);
      assert.match(annotations['kubernetes.io/config.seen'] ?? '', /^\d{4}-/);
      await pods.remove('from-url-node-1', 0).catch(() => {});
      const again = await pods.until(
        'drawn anew',
        'from-url-node-1',
        (pod) => pod.metadata.uid !== first.metadata.uid && isReady(pod),
      );
      assert.equal(containerOf(again)?.containerID, containerOf(first)?.containerID);
      answer = staticPod(script('second'), image);
      const changed = await pods.until(
        'another content',
        'from-url-node-1',
        (pod) => isReady(pod) && containerOf(pod)?.containerID !== containerOf(first)?.containerID,
      );
      assert.notEqual(
        changed.metadata.annotations?.['kubernetes.io/config.hash'],
        annotations['kubernetes.io/config.hash'],
      );
      answer = { apiVersion: 'v1', kind: 'PodList', items: [] };
      const marker = 'echo second; trap';
      await pods.untilGone('from-url-node-1');
      assert.equal(processesWith(marker).length, 0, 'the mirror went before the pod');
    } finally {
      await server.close();
    }
  });

  test('pods have their names: hostname, subdomain, the whole domain, another name, aliases', async () => {
    const look = async (name: string, spec: object) => {
      await pods.create(name, spec);
      await pods.untilReady(name);
      const said = await pods.exec(name, ['sh', '-c', 'hostname; grep -v "^#" /etc/hosts | tail -n 3']);
      await pods.delete(name);
      return said.split('\n').map((line) => line.trim());
    };
    const [plain, sub, full, other, aliased] = await Promise.all([
      look('plain', {}),
      look('sub', { hostname: 'web-0', subdomain: 'db' }),
      look('full', { hostname: 'web-0', subdomain: 'db', setHostnameAsFQDN: true }),
      look('other', { hostnameOverride: 'my.own.name' }),
      look('aliased', { hostAliases: [{ ip: '192.0.2.7', hostnames: ['one', 'two'] }] }),
    ]);
    assert.equal(plain[0], 'plain');
    assert.equal(sub[0], 'web-0');
    assert.ok(
      sub.some((line) => /^10\.[\d.]+\tweb-0\.db\.default\.svc\.cluster\.local\tweb-0$/.test(line)),
      sub.join('|'),
    );
    assert.equal(full[0], 'web-0.db.default.svc.cluster.local');
    assert.equal(other[0], 'my.own.name');
    assert.ok(aliased.includes('192.0.2.7\tone\ttwo'), aliased.join('|'));
  });

  test('a whole domain name that the kernel cannot hold keeps the pod waiting, and is told', async () => {
    const subdomain = 'a-subdomain-that-is-rather-long-for-what-it-is';
    await pods.create('too-long', { hostname: 'web-0', subdomain, setHostnameAsFQDN: true });
    await pods.untilEvent('too-long', 'FailedCreatePodSandBox', /is too long \(64 characters is the max/);
    assert.equal(pods.get('too-long')?.status?.phase, 'Pending');
    await pods.remove('too-long');
  });

  test('the resolver follows dnsPolicy and dnsConfig, and what is left out is told', async () => {
    const dnsConfig = {
      nameservers: ['192.0.2.1', '192.0.2.2'],
      searches: ['more.test'],
      options: [{ name: 'ndots', value: '2' }],
    };
    const look = async (name: string, spec: object) => {
      await pods.create(name, spec);
      await pods.untilReady(name);
      const said = await pods.exec(name, ['cat', '/etc/resolv.conf']);
      await pods.delete(name);
      return said;
    };
    const [first, own, none] = await Promise.all([
      look('dns-first', {}),
      look('dns-default', { dnsPolicy: 'Default', dnsConfig }),
      look('dns-none', { dnsPolicy: 'None', dnsConfig }),
    ]);
    assert.match(first, /search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/);
    assert.match(first, /ndots:5/);
    assert.deepEqual(
      own.match(/nameserver \S+/g),
      ['192.0.2.53', '192.0.2.54', '192.0.2.1'].map((one) => `nameserver ${one}`),
    );
    await pods.untilEvent('dns-default', 'DNSConfigForming', /Nameserver limits were exceeded/);
    assert.deepEqual(none.match(/nameserver \S+/g), ['nameserver 192.0.2.1', 'nameserver 192.0.2.2']);
    assert.match(none, /search more\.test/);
    assert.match(none, /ndots:2/);
  });

  test('a pod in the network of the host has its addresses and its hosts file', async () => {
    await pods.create('in-host', { hostNetwork: true });
    const pod = await pods.untilReady('in-host');
    assert.equal(pod.status?.podIP, pod.status?.hostIP);
    assert.match(await pods.exec('in-host', ['cat', '/etc/hosts']), /managed hosts file \(host network\)/);
    await pods.remove('in-host');
  });

  test('kubectl debug adds a container that sees the processes of its target, and that is never restarted', async () => {
    await pods.create('debugged', {
      containers: [pods.container({ script: 'echo target-process; trap "exit 0" TERM; sleep 3600 & wait' })],
    });
    await pods.untilReady('debugged');
    const script = 'for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; done; exit 4';
    const debug = ['debug', 'debugged', `--image=${registry.image('v1')}`, '--target=main', '--container=helper'];
    await cluster.kubectl([...debug, '--profile=general', '--', 'sh', '-c', script]);
    const pod = await pods.until(
      'the end of the helper',
      'debugged',
      (one) => containerOf(one, 'helper')?.state?.terminated,
    );
    assert.equal(containerOf(pod, 'helper')?.state?.terminated?.exitCode, 4);
    assert.match(await cluster.kubectl(['logs', 'debugged', '-c', 'helper']), /target-process/);
    assert.equal(isReady(pod), true);
    const events = pods.events('debugged').filter(({ fieldPath }) => fieldPath === 'spec.ephemeralContainers{helper}');
    assert.deepEqual(events.map(({ reason }) => reason).sort(), ['Created', 'Pulled', 'Started']);
    await pods.client.patch(
      resources.pods,
      'debugged',
      { metadata: { labels: { touched: 'yes' } } },
      { namespace: 'default', type: 'merge' },
    );
    await pods.until('touched', 'debugged', ({ metadata }) => metadata.labels?.['touched']);
    assert.equal(containerOf(pods.get('debugged'), 'helper')?.restartCount, 0);
    await pods.remove('debugged');
  });
});

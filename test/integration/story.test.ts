/**
 * The story of a node, told with stock kubectl, real containers and real packets. Each chapter goes on where the last
 * one ended; both proxy modes read the same chapters.
 */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { Cluster } from '../support/cluster.ts';
import { DemoRegistry } from '../support/demo-registry.ts';
import { sleeperManifest, webManifest } from '../support/manifests.ts';
import { start } from '../support/processes.ts';
import { countLines, isEven } from '../support/statistics.ts';

/**
 * Asks and wants three pods to answer, evenly by the chi-square test at 1 %. One fair sample in a hundred fails that test:
 * it is then taken once more, so that fair balancing fails once in ten thousand.
 */
async function assertEven(url: string, ask: () => Promise<Map<string, number>>): Promise<void> {
  for (const last of [false, true]) {
    const counts = await ask();
    assert.equal(counts.size, 3, `${url}: ${JSON.stringify([...counts])}`);
    if (isEven([...counts.values()])) return;
    assert.ok(!last, `${url}: ${JSON.stringify([...counts])}`);
  }
}

/** What is killed in turn has a process of its own. */
const processes = ['apiserver', 'runtime', 'kubelet', 'proxy'].flatMap((name) => ['--place', `${name}=process`]);

/** By hand the story is also told with the proxy in a pod: DECKHAND_TEST_STORY_PROXY=daemonset (proxy-daemonset.test.ts has what is about the pod). */
const proxy = process.env['DECKHAND_TEST_STORY_PROXY'] ?? 'component';
if (proxy !== 'component') processes.push('--proxy', proxy);

for (const mode of ['nftables', 'iptables'] as const) {
  describe(`the story in ${mode} mode`, () => {
    let cluster: Cluster;
    let registry: DemoRegistry;
    let clusterIp: string;

    before(async () => {
      cluster = await Cluster.start(`story-${mode === 'nftables' ? 'n' : 'i'}`, [...processes, '--proxy-mode', mode]);
      registry = await DemoRegistry.start(cluster.namespace);
    });
    after(async () => {
      await registry?.[Symbol.asyncDispose]();
      await cluster?.[Symbol.asyncDispose]();
    });

    const exec = (...command: string[]) => cluster.kubectl(['exec', 'client', '--', ...command]);
    const readyPods = async (): Promise<any[]> => {
      const { items } = await cluster.get<{ items: any[] }>('pods', '-l', 'app=web');
      return items.filter(
        (pod) =>
          !pod.metadata.deletionTimestamp &&
          pod.status.conditions?.some((c: any) => c.type === 'Ready' && c.status === 'True'),
      );
    };
    const waitForPods = (count: number) =>
      pollUntil(
        `${count} pods`,
        async () => {
          const { items } = await cluster.get<{ items: any[] }>('pods', '-l', 'app=web');
          const ready = await readyPods();
          return items.length === count && ready.length === count && ready;
        },
        { timeoutMs: 60_000, intervalMs: 100 },
      );
    const waitForEndpoints = (addresses: string[]) =>
      pollUntil(
        'the endpoints',
        async () => {
          const { items } = await cluster.get<{ items: any[] }>(
            'endpointslices',
            '-l',
            'kubernetes.io/service-name=web',
          );
          const ready = items.flatMap((slice) => slice.endpoints ?? []).filter((one) => one.conditions.ready);
          const listed = ready.map((one) => one.addresses[0]).sort();
          return listed.join() === [...addresses].sort().join() && listed;
        },
        { timeoutMs: 15_000, intervalMs: 100 },
      );
    const askFromPod = async (url: string, count: number) =>
      countLines(await exec('sh', '-c', `for i in $(seq ${count}); do wget -q -O - ${url} || echo FAILED; done`));

    test('1. the node registers, turns Ready, and names its runtime', async () => {
      const node = await cluster.get('node', 'node-1');
      assert.equal(node.status.conditions.find((c: any) => c.type === 'Ready').status, 'True');
      assert.match(node.status.nodeInfo.containerRuntimeVersion, /^deckhand:\/\//);
      assert.match(await cluster.kubectl(['get', 'nodes']), /node-1\s+Ready/);
    });

    test('2. a Deployment of three: pulled once, isolated, limited', async () => {
      await cluster.kubectl(['apply', '-f', '-'], { input: webManifest(registry.image('v1')) });
      const pods = await waitForPods(3);
      assert.equal(await registry.blobFetches(), 2, 'one configuration and one layer');
      assert.equal(new Set(pods.map((pod) => pod.status.podIP)).size, 3);
      const namespaces = await Promise.all(
        pods.map((pod) =>
          cluster.kubectl(['exec', pod.metadata.name, '--', 'ls', '-l', '/proc/self/ns/net', '/proc/self/ns/pid']),
        ),
      );
      assert.equal(new Set(namespaces.map((text) => text.replaceAll(/.*-> /g, ''))).size, 3);
      clusterIp = (await cluster.get('service', 'web')).spec.clusterIP;
    });

    test('2b. a container over its memory limit is OOMKilled and restarted', async () => {
      const manifest = sleeperManifest('hungry', registry.image('v1')).replace(
        'command: [sleep, "100000"]',
        'command: [dd, if=/dev/zero, of=/dev/null, bs=64M, count=1], resources: {limits: {memory: 16Mi}}',
      );
      await cluster.kubectl(['apply', '-f', '-'], { input: manifest });
      await pollUntil(
        'OOMKilled and restarted',
        async () => {
          const [status] = (await cluster.get('pod', 'hungry')).status.containerStatuses ?? [];
          return (
            status?.restartCount > 0 &&
            status.lastState.terminated?.reason === 'OOMKilled' &&
            status.lastState.terminated.exitCode === 137
          );
        },
        { timeoutMs: 30_000, intervalMs: 100 },
      );
      await cluster.kubectl(['delete', 'pod', 'hungry', '--now']);
    });

    test('3. Endpoints, EndpointSlice and the kernel carry the pods', async () => {
      const addresses = (await readyPods()).map((pod) => pod.status.podIP);
      await waitForEndpoints(addresses);
      const legacy = await cluster.get('endpoints', 'web');
      assert.deepEqual(legacy.subsets[0].addresses.map((one: any) => one.ip).sort(), addresses.sort());
      const rules = await cluster.namespace.output(
        mode === 'nftables' ? ['nft', 'list', 'ruleset'] : ['iptables-save', '-t', 'nat'],
      );
      for (const address of addresses) assert.ok(rules.includes(address), `${address} is not in the rules`);
    });

    test('4. requests by IP, by name, from the host and to the node port are answered by every pod, evenly', async () => {
      await cluster.kubectl(['apply', '-f', '-'], { input: sleeperManifest('client', registry.image('v1')) });
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/client', '--timeout=30s']);
      for (const url of [`http://${clusterIp}/`, 'http://web/', 'http://web.default.svc.cluster.local/']) {
        await assertEven(url, () => askFromPod(url, 300));
      }
      const nodeIp = (await cluster.get('node', 'node-1')).status.addresses[0].address;
      for (const url of [`http://${clusterIp}/`, `http://${nodeIp}:30080/`]) {
        await assertEven(url, async () =>
          countLines(
            await cluster.namespace.output(['sh', '-c', `for i in $(seq 300); do busybox wget -q -O - ${url}; done`]),
          ),
        );
      }
    });

    test('5. the Service IP answers no ping, a pod does', async () => {
      const [pod] = await readyPods();
      await exec('ping', '-c', '1', '-W', '2', pod.status.podIP);
      const service = await cluster.tryKubectl(['exec', 'client', '--', 'ping', '-c', '1', '-W', '1', clusterIp]);
      assert.notEqual(service.status, 0);
    });

    test('6. scaling, deleting and rolling out lose no request', async () => {
      const looping = start([
        ...cluster.namespace.enter(),
        'sh',
        '-c',
        `while :; do busybox wget -q -O - http://${clusterIp}/ || echo FAILED; done`,
      ]);
      let answers = '';
      looping.stdout!.setEncoding('utf8').on('data', (text: string) => {
        answers += text;
      });
      try {
        await cluster.kubectl(['scale', 'deployment', 'web', '--replicas=5']);
        await waitForEndpoints((await waitForPods(5)).map((pod) => pod.status.podIP));
        await cluster.kubectl(['scale', 'deployment', 'web', '--replicas=1']);
        await waitForEndpoints((await waitForPods(1)).map((pod) => pod.status.podIP));
        await cluster.kubectl(['scale', 'deployment', 'web', '--replicas=3']);
        const [victim] = await waitForPods(3);
        await cluster.kubectl(['delete', 'pod', victim.metadata.name]);
        await waitForPods(3);
        await cluster.kubectl(['set', 'image', 'deployment/web', `web=${registry.image('v2')}`]);
        await cluster.kubectl(['rollout', 'status', 'deployment/web', '--timeout=60s']);
        await waitForEndpoints((await waitForPods(3)).map((pod) => pod.status.podIP));
      } finally {
        looping.kill('SIGKILL');
      }
      const counts = countLines(answers);
      assert.equal(counts.get('FAILED') ?? 0, 0, `of ${answers.split('\n').length} requests`);
      assert.ok([...counts.keys()].some((answer) => answer.startsWith('v2')));
    });

    test('7. a killed container is restarted with back-off', async () => {
      const [pod] = await readyPods();
      const name = pod.metadata.name;
      const id = pod.status.containerStatuses[0].containerID.replace(/^.*:\/\//, '');
      const pid = (await cluster.namespace.output(['pgrep', '-f', `conmon.* ${id}`])).split('\n')[0]!;
      const child = (await cluster.namespace.output(['pgrep', '-P', pid])).split('\n')[0]!;
      await cluster.namespace.run(['kill', '-9', child]);
      await pollUntil(
        'the restart',
        async () => {
          const [status] = (await cluster.get('pod', name)).status.containerStatuses;
          return status.restartCount >= 1 && status.ready;
        },
        { timeoutMs: 30_000, intervalMs: 100 },
      );
    });

    test('7b. kill -9 of each component under load: Services keep answering, and it adopts what is there', async () => {
      const before = (await waitForPods(3)).map((pod) => pod.status.containerStatuses[0].containerID).sort();
      for (const component of ['kubelet', 'runtime', 'proxy', 'apiserver']) {
        if (component === 'proxy' && proxy !== 'component') continue;
        const pid = await cluster.pidOf(component);
        const asking = cluster.namespace.output([
          'sh',
          '-c',
          `for i in $(seq 300); do busybox wget -q -O - http://${clusterIp}/ || echo FAILED; done`,
        ]);
        process.kill(pid, 'SIGKILL');
        const counts = countLines(await asking);
        assert.equal(counts.get('FAILED') ?? 0, 0, `while ${component} was dead`);
        await pollUntil(
          `${component} again`,
          async () => {
            const status = await cluster.status().catch(() => undefined);
            const found = status?.components.find((one) => one.name === component);
            return found?.state === 'running' && found.pid !== pid && status!.node?.ready;
          },
          { timeoutMs: 30_000, intervalMs: 100 },
        );
        const after = (await waitForPods(3)).map((pod) => pod.status.containerStatuses[0].containerID).sort();
        assert.deepEqual(after, before, `containers after the death of the ${component}`);
      }
      // Everything still follows: a new pod becomes an endpoint.
      await cluster.kubectl(['scale', 'deployment', 'web', '--replicas=4']);
      await waitForEndpoints((await waitForPods(4)).map((pod) => pod.status.podIP));
    });

    test('8. static pods from YAML and JSON run and show as mirror pods', async () => {
      const manifests = join(cluster.dataDirectory, 'manifests');
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'from-json' },
        spec: {
          terminationGracePeriodSeconds: 1,
          containers: [{ name: 'main', image: registry.image('v1'), command: ['sleep', '1000'] }],
        },
      };
      await writeFile(join(manifests, 'pod.json'), JSON.stringify(pod));
      await writeFile(join(manifests, 'pod.yaml'), sleeperManifest('from-yaml', registry.image('v1')));
      for (const name of ['from-json-node-1', 'from-yaml-node-1']) {
        await pollUntil(
          `mirror pod ${name}`,
          async () => {
            const { stdout, status } = await cluster.tryKubectl(['get', 'pod', name, '-o', 'json']);
            return status === 0 && JSON.parse(stdout).status.phase === 'Running';
          },
          { timeoutMs: 30_000, intervalMs: 100 },
        );
      }
      await rm(join(manifests, 'pod.json'));
      await rm(join(manifests, 'pod.yaml'));
      await pollUntil(
        'the mirror pods gone',
        async () => (await cluster.tryKubectl(['get', 'pod', 'from-json-node-1', 'from-yaml-node-1'])).stdout === '',
        { timeoutMs: 30_000, intervalMs: 100 },
      );
    });

    test('9. down --keep-pods keeps them, the next up adopts them, down leaves nothing', async () => {
      const before = (await waitForPods(4)).map((pod) => pod.status.containerStatuses[0].containerID).sort();
      await cluster.down(['--keep-pods']);
      const answer = await cluster.namespace.output(['busybox', 'wget', '-q', '-O', '-', `http://${clusterIp}/`]);
      assert.match(answer, /^v2 /);
      await cluster.up([...processes, '--proxy-mode', mode]);
      const after = (await waitForPods(4)).map((pod) => pod.status.containerStatuses[0].containerID).sort();
      assert.deepEqual(after, before);
      await cluster.down();
      const mounts = await cluster.namespace.output(['cat', '/proc/self/mounts']);
      assert.ok(
        !mounts.includes(cluster.dataDirectory),
        mounts
          .split('\n')
          .filter((line) => line.includes(cluster.dataDirectory))
          .join('\n'),
      );
      const links = await cluster.namespace.output(['ip', '-o', 'link']);
      assert.deepEqual(links.trim().split('\n').length, 1, links);
      const rules =
        mode === 'nftables'
          ? await cluster.namespace.output(['nft', 'list', 'ruleset'])
          : await cluster.namespace.output(['iptables-save', '-t', 'nat']);
      assert.ok(!/10\.96\.|KUBE-SVC/.test(rules), rules);
      const { stdout } = await cluster.namespace.run(['pgrep', '-f', cluster.dataDirectory]);
      assert.equal(stdout, '');
    });
  });
}

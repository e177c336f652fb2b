/**
 * Our kubelet, proxy and control plane on a runtime that is not ours, chosen by --runtime-endpoint: the same story on each.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { busyboxEntries, dockerArchiveFiles, makeImage, makeLayer, packFiles } from '../../support/images.ts';
import { sleeperManifest, webManifest } from '../../support/manifests.ts';
import type { NetworkNamespace } from '../../support/network-namespace.ts';
import { start } from '../../support/processes.ts';

/** A container runtime that a kubelet can be put on. */
export interface ForeignRuntime extends AsyncDisposable {
  /** `unix:///…` */
  endpoint: string;
  directory: string;
  /** Takes in images from what `docker save` writes. */
  load(file: string): Promise<void>;
  /** What is left of pods in it, one line for each. */
  remains(): Promise<string[]>;
}

/** How the suite meets one. */
export interface ForeignRuntimeOptions {
  /** As the node tells it: `containerd`. */
  name: string;
  /** How its version begins; default: whatever it is. */
  version?: string;
  /** Short, for the names of directories and namespaces. */
  purpose: string;
  skip: string | false;
  /** Whether the CNI bridge `cni0` makes the pods' network; the node's address is on it. */
  cniBridge: boolean;
  start(namespace: NetworkNamespace, options: { podCidr: string; pauseImage: string }): Promise<ForeignRuntime>;
}

const pauseImage = 'example.test/pause:v1';
const webImage = 'example.test/web:v1';
const podCidr = '10.244.0.0/24';

/** Runs the suite on a runtime. */
export function foreignRuntimeSuite(options: ForeignRuntimeOptions): void {
  describe(`our kubelet on ${options.name} ${options.version ?? ''}`, { skip: options.skip }, () => {
    let runtime: ForeignRuntime;
    let cluster: Cluster;

    before(async () => {
      cluster = await Cluster.create(options.purpose);
      runtime = await options.start(cluster.namespace, { podCidr, pauseImage });
      await importImages(runtime);
      // The node's address is the first of the pods' range: the bridge must be there before anything listens on it.
      if (options.cniBridge) {
        await cluster.namespace.output(['ip', 'link', 'add', 'cni0', 'type', 'bridge']);
        await cluster.namespace.output(['ip', 'address', 'add', '10.244.0.1/24', 'dev', 'cni0']);
        await cluster.namespace.output(['ip', 'link', 'set', 'cni0', 'up']);
      }
      await cluster.up(['--runtime-endpoint', runtime.endpoint, '--pod-cidr', podCidr]);
    });
    after(async () => {
      await cluster?.down().catch(() => {});
      await runtime?.[Symbol.asyncDispose]();
      await cluster?.[Symbol.asyncDispose]();
    });

    const webPods = async (): Promise<any[]> =>
      (await cluster.get<{ items: any[] }>('pods', '-l', 'app=web')).items.filter(
        ({ metadata }) => !metadata.deletionTimestamp,
      );

    const ids = async (): Promise<string[]> =>
      (await webPods()).map((pod) => pod.status.containerStatuses[0].containerID).sort();

    test('the node names it', async () => {
      const node = await cluster.get('node', 'node-1');
      assert.match(
        node.status.nodeInfo.containerRuntimeVersion,
        new RegExp(`^${options.name}://${options.version ?? ''}`),
      );
      const { components } = await cluster.status();
      assert.ok(!components.some(({ name }) => name === 'runtime'));
    });

    test('a Deployment and its Service answer by address and by name', async () => {
      await cluster.kubectl(['apply', '-f', '-'], { input: webManifest(webImage, 2) });
      await cluster.kubectl(['rollout', 'status', 'deployment/web', '--timeout=60s']);
      await cluster.kubectl(['apply', '-f', '-'], { input: sleeperManifest('client', webImage) });
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/client', '--timeout=30s']);
      const { clusterIP } = (await cluster.get('service', 'web')).spec;
      const names = (await webPods()).map(({ metadata }) => metadata.name).sort();
      for (const url of [`http://${clusterIP}/`, 'http://web/', 'http://web.default.svc.cluster.local/']) {
        const text = await cluster.kubectl([
          'exec',
          'client',
          '--',
          'sh',
          '-c',
          `for i in $(seq 40); do wget -q -O - ${url} || echo FAILED; done`,
        ]);
        const answers = [...new Set(text.trim().split('\n'))].sort();
        assert.deepEqual(
          answers,
          names.map((name) => `v1 ${name}`),
          url,
        );
      }
    });

    test('logs, exec with input and status, and port-forward', async () => {
      const talker = sleeperManifest('talker', webImage).replace(
        '[sleep, "100000"]',
        '[sh, -c, "echo hello; exec sleep 100000"]',
      );
      await cluster.kubectl(['apply', '-f', '-'], { input: talker });
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/talker', '--timeout=30s']);
      assert.equal(await cluster.kubectl(['logs', 'talker']), 'hello\n');
      assert.equal(await cluster.kubectl(['exec', '-i', 'talker', '--', 'cat'], { input: 'through' }), 'through');
      const { status } = await cluster.tryKubectl(['exec', 'talker', '--', 'sh', '-c', 'exit 7']);
      assert.equal(status, 7);
      const kubeconfig = join(cluster.dataDirectory, 'admin.conf');
      const forward = start([...cluster.namespace.enter(), 'kubectl', 'port-forward', 'deployment/web', '18080:8080'], {
        KUBECONFIG: kubeconfig,
      });
      try {
        const ask = () => cluster.namespace.run(['busybox', 'wget', '-q', '-O', '-', 'http://127.0.0.1:18080/']);
        const answer = await pollUntil(
          'an answer through the forwarded port',
          async () => {
            const { status, stdout } = await ask();
            return status === 0 && stdout;
          },
          { timeoutMs: 15_000, intervalMs: 100 },
        );
        assert.match(answer, /^v1 web-/);
      } finally {
        forward.kill('SIGKILL');
      }
    });

    test('kill -9 of everything of ours: containers go on and are adopted', async () => {
      const before = await ids();
      const record = JSON.parse(await readFile(join(cluster.dataDirectory, 'instance.json'), 'utf8'));
      process.kill(record.pid, 'SIGKILL');
      await pollUntil(
        'the node Ready again',
        async () => {
          const now = JSON.parse(await readFile(join(cluster.dataDirectory, 'instance.json'), 'utf8'));
          return now.pid !== record.pid && (await cluster.status().catch(() => undefined))?.node?.ready;
        },
        { timeoutMs: 30_000, intervalMs: 100 },
      );
      assert.deepEqual(await ids(), before);
      await cluster.kubectl(['scale', 'deployment/web', '--replicas=3']);
      await cluster.kubectl(['rollout', 'status', 'deployment/web', '--timeout=60s']);
      const after = await ids();
      assert.ok(before.every((id) => after.includes(id)));
    });

    test('down takes the pods away', async () => {
      await cluster.down();
      assert.deepEqual(await runtime.remains(), []);
      const mounts = await readFile('/proc/self/mounts', 'utf8');
      assert.ok(!mounts.includes(cluster.dataDirectory));
    });
  });
}

async function importImages(runtime: ForeignRuntime): Promise<void> {
  const serve =
    'mkdir -p /www; echo "v1 $(hostname)" > /www/index.html; trap "exit 0" TERM; httpd -f -p 8080 -h /www & wait $!';
  const applets = ['sh', 'sleep', 'httpd', 'wget', 'hostname', 'mkdir', 'echo', 'cat', 'seq'];
  const layer = makeLayer(await busyboxEntries(applets), { family: 'docker' });
  const image = (command: string[]) =>
    makeImage([layer], { family: 'docker', config: { Env: ['PATH=/bin'], Cmd: command } });
  const file = join(runtime.directory, 'images.tar');
  const images = [
    { image: image(['sleep', '2147483647']), names: [pauseImage] },
    { image: image(['sh', '-c', serve]), names: [webImage] },
  ];
  await writeFile(file, packFiles(dockerArchiveFiles(images)));
  await runtime.load(file);
}

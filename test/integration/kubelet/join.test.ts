/**
 * A node joins as with kubeadm: a bootstrap token, a certificate by CSR, a serving certificate by CSR; then the story of a
 * node. Under our control plane always; under upstream's when the environment names its programs (KUBE_APISERVER,
 * KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, ETCD).
 */
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { pollUntil } from '../../../src/async/index.ts';
import { ControlPlane, nodeAddress, type Plane, upstreamMissing } from '../../support/control-plane.ts';
import { type Daemon, Daemons } from '../../support/daemons.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { sleeperManifest, webManifest } from '../../support/manifests.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import { start } from '../../support/processes.ts';

const deckhand = join(import.meta.dirname, '../../../bin/deckhand');
const wait = { timeoutMs: 60_000, intervalMs: 100 };

/** Everything of a worker that is not the control plane: runtime, kubelet, proxy. */
class Worker {
  readonly directory: string;
  readonly daemons: Daemons;
  readonly kubelet: () => Daemon;
  readonly #runtime: Daemon;
  #kubelet: Daemon;

  constructor(directory: string, daemons: Daemons, pki: string) {
    this.directory = directory;
    this.daemons = daemons;
    const group = `/dh-join-${process.pid}`;
    this.#runtime = daemons.component('runtime', [
      ...['--listen', `unix://${directory}/cri.sock`, '--root', `${directory}/runtime/root`],
      ...['--state', `${directory}/runtime/state`, '--pod-cidr', '10.88.0.0/16', '--cgroup-parent', group],
    ]);
    daemons.component('proxy', [
      '--kubeconfig',
      `${pki}/kube-proxy.conf`,
      '--hostname-override',
      'joined',
      '--cluster-cidr',
      '10.88.0.0/16',
    ]);
    this.#kubelet = this.#startKubelet();
    this.kubelet = () => this.#kubelet;
  }

  #startKubelet(): Daemon {
    const { directory } = this;
    return this.daemons.component('kubelet', [
      ...['--config', `${directory}/kubelet.yaml`, '--kubeconfig', `${directory}/kubelet.conf`],
      ...['--bootstrap-kubeconfig', `${directory}/bootstrap.conf`, '--cert-dir', `${directory}/certs`],
      ...['--root-dir', `${directory}/kubelet`, '--hostname-override', 'joined', '--node-ip', nodeAddress, '--v=4'],
    ]);
  }

  async restartKubelet(signal: NodeJS.Signals): Promise<void> {
    await this.#kubelet.end(signal);
    this.#kubelet = this.#startKubelet();
  }

  async remove(): Promise<void> {
    await this.daemons.remove(this.#kubelet);
    await this.daemons.remove(this.#runtime);
  }
}

for (const plane of ['ours', 'upstream'] as const satisfies Plane[]) {
  const skip = plane === 'upstream' ? upstreamMissing() : undefined;
  describe(`a node that joins ${plane === 'ours' ? 'our' : "upstream's"} control plane`, skip ? { skip } : {}, () => {
    let directory: string;
    let namespace: NetworkNamespace;
    let daemons: Daemons;
    let cluster: ControlPlane;
    let registry: DemoRegistry;
    let worker: Worker;
    let token: string;

    const until = <T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> =>
      pollUntil(what, () => look().catch(() => undefined), wait) as Promise<T>;
    const isReady = (object: any) =>
      object.status?.conditions?.some((one: any) => one.type === 'Ready' && one.status === 'True');

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'dh-kjoin-'));
      namespace = await NetworkNamespace.create('kjoin');
      daemons = new Daemons(namespace, directory);
      try {
        cluster = await ControlPlane.start(plane, { namespace, directory, daemons });
      } catch (error) {
        throw new Error(daemons.tails(), { cause: error });
      }
      await cluster.allowJoining();
      registry = await DemoRegistry.start(namespace);
    });
    after(async () => {
      await worker?.remove();
      await daemons?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
      await namespace?.[Symbol.asyncDispose]();
      if (directory) await rm(directory, { recursive: true, force: true });
    });

    test('1. deckhand token makes a bootstrap token and the kubeconfig that goes with it, and lists it', async () => {
      const admin = ['--kubeconfig', join(directory, 'pki/admin.conf')];
      const file = join(directory, 'bootstrap.conf');
      const made = ['token', 'create', '--ttl', '1h', '--description', 'for the test', '--bootstrap-kubeconfig', file];
      token = (await namespace.output([deckhand, ...made, ...admin])).trim();
      assert.match(token, /^[a-z0-9]{6}\.[a-z0-9]{16}$/);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      const listed = JSON.parse(await namespace.output([deckhand, 'token', 'list', '-o', 'json', ...admin]));
      assert.deepEqual(
        listed.map((one: any) => [one.token, one.description, one.usages]),
        [[token, 'for the test', ['authentication', 'signing']]],
      );
    });

    test('2. the kubelet gets its certificate by CSR, writes its kubeconfig and registers the node', async () => {
      const configuration = {
        apiVersion: 'kubelet.config.k8s.io/v1beta1',
        kind: 'KubeletConfiguration',
        containerRuntimeEndpoint: `unix://${directory}/cri.sock`,
        clusterDNS: ['10.96.0.10'],
        clusterDomain: 'cluster.local',
        cgroupRoot: `/dh-join-${process.pid}`,
        podLogsDir: join(directory, 'logs/pods'),
        rotateCertificates: true,
        serverTLSBootstrap: true,
        registerWithTaints: [],
        authentication: { x509: { clientCAFile: join(directory, 'pki/ca.crt') } },
        makeIPTablesUtilChains: false,
      };
      await writeFile(join(directory, 'kubelet.yaml'), JSON.stringify(configuration));
      worker = new Worker(directory, daemons, cluster.pki);
      await until('the node', async () => isReady(await cluster.get('node', 'joined')));
      const current = join(directory, 'certs/kubelet-client-current.pem');
      assert.ok(lstatSync(current).isSymbolicLink());
      assert.match(readlinkSync(current), /^kubelet-client-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.pem$/);
      assert.equal(statSync(current).mode & 0o777, 0o600);
      const pem = readFileSync(current, 'utf8');
      const certificate = new X509Certificate(pem);
      assert.match(certificate.subject, /CN=system:node:joined/);
      assert.ok(certificate.checkPrivateKey(createPrivateKey(pem)));
      const kubeconfig = parse(readFileSync(join(directory, 'kubelet.conf'), 'utf8'));
      assert.deepEqual(kubeconfig.users[0].user, { 'client-certificate': current, 'client-key': current });
      const { items } = await cluster.get('csr');
      const request = items.find((one: any) => one.spec.signerName.endsWith('kube-apiserver-client-kubelet'));
      assert.match(request.metadata.name, /^node-csr-/);
      assert.equal(request.spec.username, `system:bootstrap:${token.split('.')[0]}`);
      assert.equal(request.status.conditions[0].reason, 'AutoApproved');
    });

    test('3. its serving certificate waits for an administrator; once approved, logs and exec work', async () => {
      const pending = await until('the request', async () => {
        const { items } = await cluster.get('csr');
        return items.find((one: any) => one.spec.signerName.endsWith('kubelet-serving'));
      });
      assert.equal((pending as any).spec.username, 'system:node:joined');
      assert.equal((pending as any).status.conditions, undefined);
      await cluster.kubectl(['certificate', 'approve', (pending as any).metadata.name]);
      await until('the account', async () => cluster.get('serviceaccount', 'default'));
      await cluster.kubectl(['apply', '-f', '-'], { input: sleeperManifest('client', registry.image('v1')) });
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/client', '--timeout=60s']);
      await until('the serving certificate', async () =>
        cluster.kubectl(['exec', 'client', '--', 'true']).then(() => true),
      );
      const served = new X509Certificate(readFileSync(join(directory, 'certs/kubelet-server-current.pem')));
      assert.match(served.subjectAltName ?? '', /DNS:joined/);
      assert.match(served.subjectAltName ?? '', new RegExp(`IP Address:${nodeAddress}`));
    });

    test('4. a Deployment is run: logs, exec, port-forward and a Service work', async () => {
      await cluster.kubectl(['apply', '-f', '-'], { input: webManifest(registry.image('v1'), 2) });
      await cluster.kubectl(['rollout', 'status', 'deployment/web', '--timeout=60s']);
      const { items } = await cluster.get('pods', '-l', 'app=web');
      const [pod] = items;
      assert.equal((await cluster.kubectl(['exec', pod.metadata.name, '--', 'echo', 'hello'])).trim(), 'hello');
      await cluster.kubectl(['exec', '-i', 'client', '--', 'sh', '-c', 'echo said > /proc/1/fd/1'], { input: '' });
      assert.match(await cluster.kubectl(['logs', 'client']), /said/);
      const { clusterIP } = (await cluster.get('service', 'web')).spec;
      await until('the Service from a pod', () =>
        cluster.kubectl(['exec', 'client', '--', 'wget', '-q', '-O', '-', `http://${clusterIP}/`]),
      );
      await until('the Service from the node', () =>
        namespace.output(['busybox', 'wget', '-q', '-O', '-', `http://${clusterIP}/`]),
      );
      await forward(pod.metadata.name);
    });

    test('5. a container that dies and a killed kubelet: the container comes back, the others run on', async () => {
      const idOf = async (name: string) => (await cluster.get('pod', name)).status.containerStatuses[0];
      const waits = '[sh, -c, "while ! test -e /die; do sleep 0.1; done; exit 1"]';
      const fragile = sleeperManifest('fragile', registry.image('v1')).replace('[sleep, "100000"]', waits);
      await cluster.kubectl(['apply', '-f', '-'], { input: fragile });
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/fragile', '--timeout=60s']);
      const before = await idOf('client');
      await worker.restartKubelet('SIGKILL');
      await until('an exec', () => cluster.kubectl(['exec', 'fragile', '--', 'touch', '/die']).then(() => true));
      await until(
        'the restart',
        async () => (await idOf('fragile')).restartCount > 0 && isReady(await cluster.get('pod', 'fragile')),
      );
      assert.deepEqual((await idOf('client')).containerID, before.containerID);
      assert.equal((await idOf('client')).restartCount, 0);
    });

    test('6. what is deleted goes: Deployment and pod, then the node, which registers again', async () => {
      await cluster.kubectl([
        'delete',
        'deployment/web',
        'service/web',
        'pod/client',
        'pod/fragile',
        '--wait=true',
        '--timeout=60s',
      ]);
      await until('no pods', async () => (await cluster.get('pods')).items.length === 0);
      const { uid } = (await cluster.get('node', 'joined')).metadata;
      await cluster.kubectl(['delete', 'node', 'joined']);
      await until('the node again', async () => {
        const node = await cluster.get('node', 'joined');
        return node.metadata.uid !== uid && isReady(node);
      });
    });

    test('7. the information about the cluster is signed by the token, and a deleted token is good for nothing', async () => {
      await until('the signature', async () => {
        const { data } = await cluster.get('configmap', 'cluster-info', '-n', 'kube-public');
        return data[`jws-kubeconfig-${token.split('.')[0]}`];
      });
      const admin = ['--kubeconfig', join(directory, 'pki/admin.conf')];
      const ask = () => namespace.run(['kubectl', '--kubeconfig', join(directory, 'bootstrap.conf'), 'get', 'csr']);
      assert.equal((await ask()).status, 0);
      await namespace.output([deckhand, 'token', 'delete', token, ...admin]);
      await until('the end of the token', async () => (await ask()).status !== 0);
    });

    /** Asks a pod through kubectl port-forward. */
    async function forward(pod: string): Promise<void> {
      const kubeconfig = join(directory, 'pki/admin.conf');
      const child = start([
        ...namespace.enter(),
        'kubectl',
        '--kubeconfig',
        kubeconfig,
        'port-forward',
        pod,
        '18080:8080',
      ]);
      try {
        await until('an answer through the forward', () =>
          namespace.output(['busybox', 'wget', '-q', '-O', '-', 'http://127.0.0.1:18080/']),
        );
      } finally {
        child.kill();
      }
    }
  });
}

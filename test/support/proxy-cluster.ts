import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import { ensurePki } from '../../src/controlplane/pki/index.ts';
import { nodeName } from '../../src/proxy/testing/packet-cases.ts';
import { type Daemon, Daemons } from './daemons.ts';
import { createProxyNetwork, type ProxyNetwork } from './proxy-network.ts';

/** The network of proxy tests with our API server in it, and a proxy as a program with the rights that upstream's has. */
export class ProxyCluster implements AsyncDisposable {
  readonly network: ProxyNetwork;
  readonly daemons: Daemons;
  readonly directory: string;
  readonly config: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(network: ProxyNetwork, daemons: Daemons, directory: string, stack: AsyncDisposableStack) {
    this.network = network;
    this.daemons = daemons;
    this.directory = directory;
    this.config = join(directory, 'config.yaml');
    this.#stack = stack;
  }

  static async create(): Promise<ProxyCluster> {
    const stack = new AsyncDisposableStack();
    try {
      const directory = await mkdtemp(join(tmpdir(), 'deckhand-proxy-cluster-'));
      stack.defer(() => rm(directory, { recursive: true }));
      const network = stack.use(await createProxyNetwork());
      const daemons = stack.use(new Daemons(network.node, directory));
      const pki = join(directory, 'pki');
      await mkdir(pki);
      await ensurePki(pki, {
        clusterName: 'kubernetes',
        nodeName: 'unused',
        server: 'https://127.0.0.1:6443',
        serverNames: ['kubernetes', 'localhost'],
        serverAddresses: ['127.0.0.1'],
        nodeAddresses: ['127.0.0.1'],
        clock: systemClock,
      });
      return new ProxyCluster(network, daemons, directory, stack.move());
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  /** Starts the API server (again: with what it stored). */
  async startApiServer(): Promise<Daemon> {
    const daemon = this.daemons.component('apiserver', [
      ...['--data-dir', join(this.directory, 'store'), '--cert-dir', join(this.directory, 'pki')],
      ...['--bind-address', '127.0.0.1', '--service-cluster-ip-range', '10.96.0.0/16'],
    ]);
    await pollUntil('the API server', async () => daemon.said().includes('\n') && (await this.answers()), {
      timeoutMs: 20_000,
      intervalMs: 50,
    });
    return daemon;
  }
  /** Whether the API server answers. */
  async answers(): Promise<boolean> {
    return (await this.network.node.run(this.#kubectl(['get', '--raw', '/readyz']))).status === 0;
  }
  async kubectl(argv: readonly string[], input?: object): Promise<string> {
    return this.network.node.output(this.#kubectl(argv), input ? { input: JSON.stringify(input) } : {});
  }
  apply(...items: object[]): Promise<string> {
    return this.kubectl(['apply', '-f', '-'], { apiVersion: 'v1', kind: 'List', items });
  }

  /** Writes the proxy's configuration: upstream's format, with the credentials of upstream's proxy. */
  async configure(fields: object, credentials = 'kube-proxy.conf'): Promise<void> {
    const document = {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      clientConnection: { kubeconfig: join(this.directory, 'pki', credentials), qps: 100, burst: 100 },
      conntrack: { maxPerCore: 0 },
      hostnameOverride: nodeName,
      clusterCIDR: '10.244.0.0/16',
      ...fields,
    };
    await writeFile(this.config, JSON.stringify(document));
  }
  startProxy(...flags: string[]): Daemon {
    return this.daemons.component('proxy', ['--config', this.config, ...flags]);
  }
  /** What a server of the node answers: status and body; status 0: nobody. */
  async fetch(url: string, ...options: string[]): Promise<{ status: number; body: string }> {
    const { stdout } = await this.network.node.run(['curl', '-s', '-m', '3', '-w', '\n%{http_code}', ...options, url]);
    const at = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
  }
  /** Connects from a host of the network: the name of the endpoint and the address it saw, or what went wrong. */
  async call(from: string, address: string, port: number): Promise<string> {
    const host = from === 'node' ? this.network.node : this.network.hosts.get(from)!;
    const { stdout, stderr } = await host.run(['socat', '-t2', '-T2', '-', `TCP:${address}:${port},connect-timeout=1`]);
    return stdout.trim() || stderr.trim().split('\n').at(-1) || 'nothing';
  }
  /** The value of a metric, by its whole name with labels. */
  async metric(name: string, port = 10249): Promise<number | undefined> {
    const { body } = await this.fetch(`http://127.0.0.1:${port}/metrics`);
    const line = body.split('\n').find((one) => one.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  }

  #kubectl(argv: readonly string[]): string[] {
    return [
      'env',
      `KUBECONFIG=${join(this.directory, 'pki', 'admin.conf')}`,
      `HOME=${this.directory}`,
      'kubectl',
      ...argv,
    ];
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The node of the tests. */
export function testNode(zone = 'a', addresses = ['192.168.50.1']): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: nodeName, labels: { 'topology.kubernetes.io/zone': zone } },
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}
/** A Service without a selector. */
export function testService(name: string, spec: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { ports: [{ port: 80, protocol: 'TCP' }], ...spec },
  };
}
/** Its slice. */
export function testSlice(
  name: string,
  endpoints: object[],
  ports: object[] = [{ port: 8080, protocol: 'TCP' }],
): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints,
    ports: ports.map((port) => ({ name: '', ...port })),
  };
}

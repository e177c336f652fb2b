import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NamespaceMode, Protocol, RuntimeService } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { NetworkAgent } from './network-agent.ts';
import { NetworkNamespace } from './network-namespace.ts';

/** A host port of a test pod. */
export interface Port {
  hostPort: number;
  containerPort?: number;
  protocol?: 'tcp' | 'udp' | 'sctp';
  hostIp?: string;
}

/** What a test pod may have. */
export interface PodOptions {
  ports?: readonly Port[];
  annotations?: Record<string, string>;
  hostNetwork?: boolean;
  dns?: { servers: string[]; searches: string[]; options: string[] };
}

/** A pod without containers: its network is all that there is. */
export interface TestPod {
  id: string;
  name: string;
  ip: string;
  additionalIps: string[];
  namespacePath: string;
  /** Speaks and listens inside the pod. */
  agent: NetworkAgent;
}

/** A runtime in a network namespace (the node) with another one beside it (the outside), and pods without containers. */
export class NetworkRuntime implements AsyncDisposable {
  readonly base: string;
  readonly node: NetworkNamespace;
  readonly outside: NetworkNamespace;
  readonly #settings: Record<string, unknown>;
  readonly #stack: AsyncDisposableStack;
  readonly #pods = new Map<string, TestPod>();
  #process: ChildProcess | undefined;
  #count = 0;
  #errors = '';
  /** Speaks for programs of the node. */
  agent!: NetworkAgent;
  /** Speaks for a machine outside. */
  outsideAgent!: NetworkAgent;
  cri!: GrpcClient<typeof RuntimeService>;

  private constructor(base: string, namespaces: NetworkNamespace[], settings: object, stack: AsyncDisposableStack) {
    this.base = base;
    [this.node, this.outside] = namespaces as [NetworkNamespace, NetworkNamespace];
    this.#stack = stack;
    this.#settings = {
      listen: join(base, 'cri.sock'),
      root: join(base, 'root'),
      state: join(base, 'state'),
      bridgeName: 'dhnet0',
      cgroupParent: `/deckhand-test-${process.pid}`,
      ...settings,
    };
  }

  /** The node is 192.168.60.1 and fd60::1, the outside 192.168.60.2 and fd60::2, the node's way out. */
  static async create(settings: object | ((base: string) => object) = {}): Promise<NetworkRuntime> {
    await using stack = new AsyncDisposableStack();
    const base = await mkdtemp(join(tmpdir(), 'dh-network-'));
    stack.defer(() => rm(base, { recursive: true, force: true }));
    const node = stack.use(await NetworkNamespace.create('net'));
    const outside = stack.use(await NetworkNamespace.create('outside'));
    const script = `
      ip link add up0 type veth peer name up0 netns ${outside.name}
      ip addr add 192.168.60.1/24 dev up0
      ip addr add fd60::1/64 dev up0 nodad
      ip link set up0 up
      ip -n ${outside.name} addr add 192.168.60.2/24 dev up0
      ip -n ${outside.name} addr add fd60::2/64 dev up0 nodad
      ip -n ${outside.name} link set up0 up
      ip route add default via 192.168.60.2
      ip route add default via fd60::2
    `;
    await node.output(['sh', '-ec', script]);
    const given = typeof settings === 'function' ? settings(base) : settings;
    const runtime = new NetworkRuntime(base, [node, outside], given, stack.move());
    runtime.agent = runtime.#stack.use(new NetworkAgent(`/run/netns/${node.name}`));
    runtime.outsideAgent = runtime.#stack.use(new NetworkAgent(`/run/netns/${outside.name}`));
    runtime.#stack.defer(() => runtime.kill('SIGUSR2'));
    await runtime.start();
    runtime.cri = createGrpcClient(RuntimeService, join(base, 'cri.sock'));
    runtime.#stack.defer(() => runtime.cri.close());
    return runtime;
  }

  /** What the runtime has written to its log. */
  get log(): string {
    return this.#errors;
  }

  /** Starts the runtime; `settings` go over those of create(), from now on. */
  async start(settings: object = {}): Promise<void> {
    Object.assign(this.#settings, settings);
    const script = join(import.meta.dirname, 'runtime-process.ts');
    const argv = [...this.node.enter(), process.execPath, script, JSON.stringify(this.#settings)];
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the runtime ended with status ${code}:\n${this.#errors}`)));
    });
  }
  /** Arms fault points, see src/async/fault-point.ts. */
  async arm(faults: string): Promise<void> {
    const armed = new Promise((resolve) => this.#process!.stdout!.once('data', resolve));
    this.#process!.stdin!.write(`${faults}\n`);
    await armed;
  }
  /** When its process has ended. */
  async ended(): Promise<void> {
    const child = this.#process!;
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    await pollUntil('the end of the runtime', hasEnded, { timeoutMs: 10_000 });
  }
  /** Ends it: SIGKILL, SIGTERM, or SIGUSR2 to have everything removed. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** Asks for a pod; gives its id. */
  async runPod(name: string, options: PodOptions = {}): Promise<string> {
    const network = options.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD;
    const protocols = { tcp: Protocol.TCP, udp: Protocol.UDP, sctp: Protocol.SCTP };
    const config = {
      metadata: { name, namespace: 'default', uid: `uid-${++this.#count}`, attempt: 0 },
      annotations: options.annotations ?? {},
      ...(options.dns ? { dnsConfig: options.dns } : {}),
      portMappings: (options.ports ?? []).map(({ protocol = 'tcp', hostPort, hostIp = '', containerPort = 80 }) => ({
        protocol: protocols[protocol],
        hostPort,
        containerPort,
        hostIp,
      })),
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER, network } } },
    };
    return (await this.cri.runPodSandbox({ config }, { timeoutMs: 60_000 })).podSandboxId;
  }
  /** Makes a pod that serves port 80 in TCP and UDP, answering its name. */
  async pod(name: string, options: PodOptions = {}): Promise<TestPod> {
    const id = await this.runPod(name, options);
    const { status, info } = await this.cri.podSandboxStatus({ podSandboxId: id, verbose: true });
    const namespacePath = (JSON.parse(info['info']!) as { netNsPath: string }).netNsPath;
    const agent = new NetworkAgent(namespacePath);
    this.#stack.use(agent);
    const network = status!.network!;
    const additionalIps = network.additionalIps.map(({ ip }) => ip);
    const pod = { id, name, ip: network.ip, additionalIps, namespacePath, agent };
    await Promise.all([agent.serve('tcp', 80, name), agent.serve('udp', 80, name)]);
    this.#pods.set(id, pod);
    return pod;
  }
  async removePod(id: string): Promise<void> {
    this.#pods.get(id)?.agent[Symbol.dispose]();
    await this.cri.stopPodSandbox({ podSandboxId: id }, { timeoutMs: 60_000 });
    await this.cri.removePodSandbox({ podSandboxId: id });
  }
  /** What the node's network looks like to the `ip` program. */
  async links(): Promise<string[]> {
    const links = JSON.parse(await this.node.output(['ip', '-j', 'link'])) as { ifname: string }[];
    return links.map(({ ifname }) => ifname);
  }
  /** The condition NetworkReady. */
  async networkReady(): Promise<{ status: boolean; reason: string; message: string }> {
    const { status } = await this.cri.status({});
    return status!.conditions.find(({ type }) => type === 'NetworkReady')!;
  }
  hasFile(...path: string[]): boolean {
    return existsSync(join(this.base, ...path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

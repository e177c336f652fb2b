import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { pollUntil } from '../../src/async/index.ts';
import { endpointAddresses, nodeName } from '../../src/proxy/testing/packet-cases.ts';
import { NetworkNamespace } from './network-namespace.ts';

/** A node with pods, a pod of another node and a machine outside, each a network namespace; no way out of them. */
export interface ProxyNetwork extends AsyncDisposable {
  node: NetworkNamespace;
  /** By name: client, p1, p2, r1, outside. */
  hosts: Map<string, NetworkNamespace>;
  /** Addresses by name, node included. */
  addresses: Map<string, string>;
}

const addresses = new Map(
  Object.entries({ ...endpointAddresses, client: '10.244.0.10', outside: '192.168.50.2', node: '192.168.50.1' }),
);

/** Builds the network and starts a server in every endpoint: it answers its name and who called. */
export async function createProxyNetwork(): Promise<ProxyNetwork> {
  const stack = new AsyncDisposableStack();
  try {
    const node = stack.use(await NetworkNamespace.create('node'));
    await node.output(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    // What a default route would do on a real node: load balancer and external addresses lead somewhere.
    const elsewhere = ['203.0.113.0/24', '198.51.100.0/24'];
    for (const range of elsewhere) await node.output(['ip', 'route', 'add', range, 'dev', 'lo']);
    const hosts = new Map<string, NetworkNamespace>();
    for (const name of ['client', 'p1', 'p2', 'r1', 'outside']) {
      const host = stack.use(await NetworkNamespace.create(name));
      hosts.set(name, host);
      await connect(node, host, name);
    }
    const servers: ChildProcess[] = [];
    stack.defer(() => {
      for (const server of servers) killGroup(server);
    });
    for (const name of Object.keys(endpointAddresses)) servers.push(...serve(hosts.get(name)!, name));
    const owned = stack.move();
    const network = { node, hosts, addresses, [Symbol.asyncDispose]: () => owned.disposeAsync() };
    await pollUntil(
      'servers answer',
      async () =>
        (
          await network.hosts
            .get('client')!
            .run(['socat', '-t2', '-', `TCP:${endpointAddresses.r1}:8080,connect-timeout=1`])
        ).stdout.includes('r1'),
      { timeoutMs: 10_000 },
    );
    return network;
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** A cable between the node and a host, without a switch: every packet between hosts passes through the node. */
async function connect(node: NetworkNamespace, host: NetworkNamespace, name: string): Promise<void> {
  const address = addresses.get(name)!;
  const gateway = name === 'outside' ? addresses.get('node')! : '10.244.0.1';
  await node.output([
    'sh',
    '-ec',
    `ip link add v-${name} type veth peer name eth0 netns ${host.name}
     ip addr add ${gateway}/32 dev v-${name}
     ip link set v-${name} up
     ip route add ${address}/32 dev v-${name} src ${gateway}`,
  ]);
  await host.output([
    'sh',
    '-ec',
    `ip addr add ${address}/32 dev eth0
     ip link set eth0 up
     ip route add ${gateway}/32 dev eth0
     ip route add default via ${gateway}`,
  ]);
}

/** TCP, UDP and (where the kernel has it) SCTP servers on the endpoint port. */
function serve(host: NetworkNamespace, name: string): ChildProcess[] {
  const answer = `SYSTEM:echo ${name} $SOCAT_PEERADDR`;
  // socat's own backlog of 5 overflows when the cases call all at once, and a lost SYN is sent again only after a second.
  const stream = '8080,fork,reuseaddr,backlog=512';
  return [`TCP-LISTEN:${stream}`, 'UDP-RECVFROM:8080,fork', `SCTP-LISTEN:${stream}`].map((listen) =>
    spawn('setsid', [...host.enter(), 'socat', listen, answer], { stdio: 'ignore' }),
  );
}

/** Ends a server and what it forked: each is a process group of its own. */
function killGroup(server: ChildProcess): void {
  if (!server.pid || server.exitCode !== null || server.signalCode !== null) return;
  try {
    process.kill(-server.pid, 'SIGKILL');
  } catch {
    server.kill('SIGKILL');
  }
}

/** The proxy of proxy-driver.ts, inside a namespace. */
export class ProxyDriver implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(namespace: NetworkNamespace, config: object) {
    const driver = new URL('./proxy-driver.ts', import.meta.url).pathname;
    const argv = [process.execPath, driver, JSON.stringify({ nodeName, ...config })];
    const [program, ...rest] = [...namespace.enter(), ...argv] as [string, ...string[]];
    this.#child = spawn(program, rest, { stdio: 'pipe' });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#child.stderr?.pipe(process.stderr);
  }
  get pid(): number {
    return this.#child.pid!;
  }
  /** Sends a message without waiting for an answer. */
  send(message: object): void {
    this.#child.stdin!.write(`${JSON.stringify(message)}\n`);
  }
  /** Sends a message and gives the answer. */
  async ask(message: object): Promise<any> {
    this.send(message);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the proxy ended');
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(answer.error);
    return answer;
  }
  /** Resolves when it has ended. */
  ended(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) resolve();
      else this.#child.once('exit', () => resolve());
    });
  }
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.ended();
  }
}

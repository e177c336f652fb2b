import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from './network-namespace.ts';
import { type Result, type RunOptions, run } from './processes.ts';

const deckhand = join(import.meta.dirname, '../../bin/deckhand');

/** What `deckhand status -o json` says, as far as tests read it. */
export interface ClusterStatus {
  components: { name: string; pid: number; state: string; place: string; restarts: number; memoryBytes: number }[];
  node: { name: string; ready: boolean };
}

/** A whole cluster from one command, in a network namespace and a data directory of its own. */
export class Cluster implements AsyncDisposable {
  readonly namespace: NetworkNamespace;
  readonly dataDirectory: string;
  /** From the command to its return, milliseconds. */
  startMs = 0;

  private constructor(namespace: NetworkNamespace, dataDirectory: string) {
    this.namespace = namespace;
    this.dataDirectory = dataDirectory;
  }

  /**
   * Starts a cluster and waits until its node is Ready; `prepare` gets its empty data directory before.
   * @throws Error with what the command printed
   */
  static async start(
    purpose: string,
    options: string[] = [],
    prepare: (dataDirectory: string) => Promise<void> = async () => {},
  ): Promise<Cluster> {
    const cluster = await Cluster.create(purpose);
    try {
      await prepare(cluster.dataDirectory);
      await cluster.up(options);
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  /** Starts a cluster whose kubelet has these fields of KubeletConfiguration; it is a process of its own. */
  static async withKubelet(purpose: string, fields: object, options: string[] = []): Promise<Cluster> {
    const cluster = await Cluster.create(purpose);
    try {
      await cluster.up(['--place', 'kubelet=process', ...(await cluster.kubeletConfig(fields)), ...options]);
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  /** Writes a KubeletConfiguration and gives the options of `up` that lay it over the node's own. */
  async kubeletConfig(fields: object): Promise<string[]> {
    const file = join(this.dataDirectory, 'kubelet-test.yaml');
    const head = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
    await writeFile(file, JSON.stringify({ ...head, ...fields }));
    return ['--kubelet-config', file];
  }

  /** The namespace and the data directory of a cluster that is not started yet. */
  static async create(purpose: string): Promise<Cluster> {
    const namespace = await NetworkNamespace.create(purpose);
    const directory = await mkdtemp(join(tmpdir(), `dh-${purpose}-`));
    // As `up` makes it: pods with users of their own have to get to their files through it.
    await chmod(directory, 0o711);
    return new Cluster(namespace, directory);
  }

  /** `deckhand up --detach`, again after a down or a crash. */
  async up(options: string[] = [], environment: Record<string, string> = {}): Promise<void> {
    const before = performance.now();
    const head = ['up', '--detach', '--data-dir', this.dataDirectory, '--node-name', 'node-1'];
    // Where tests run in another kernel, what that one cannot do is left out.
    const more = process.env['CLUSTER_OPTIONS']?.split(' ') ?? [];
    const result = await this.deckhand([...head, ...more, ...options], { environment });
    this.startMs = performance.now() - before;
    if (result.status !== 0)
      throw new Error(`deckhand up: status ${result.status}\n${result.stderr}${result.stdout}${await this.logs()}`);
  }

  /** Runs the command line inside the cluster's network namespace. */
  deckhand(argv: string[], options?: RunOptions): Promise<Result> {
    return this.namespace.run([deckhand, ...argv], options);
  }

  /** Runs stock kubectl against the cluster. @throws Error when it fails */
  async kubectl(argv: string[], options?: RunOptions): Promise<string> {
    const result = await this.tryKubectl(argv, options);
    if (result.status !== 0)
      throw new Error(`kubectl ${argv.join(' ')}: status ${result.status}\n${result.stderr}${result.stdout}`);
    return result.stdout;
  }

  /** Runs stock kubectl against the cluster; does not throw for a non-zero status. */
  tryKubectl(argv: string[], options: RunOptions = {}): Promise<Result> {
    return this.namespace.run(['kubectl', ...argv], {
      ...options,
      environment: {
        KUBECONFIG: join(this.dataDirectory, 'admin.conf'),
        HOME: this.dataDirectory,
        ...options.environment,
      },
    });
  }

  /** An object or list as kubectl gives it. */
  async get<T = any>(...argv: string[]): Promise<T> {
    return JSON.parse(await this.kubectl(['get', ...argv, '-o', 'json'])) as T;
  }

  async status(): Promise<ClusterStatus> {
    const result = await this.deckhand(['status', '--data-dir', this.dataDirectory, '-o', 'json']);
    return JSON.parse(result.stdout) as ClusterStatus;
  }

  /** The pid of a component in a process of its own. */
  async pidOf(component: string): Promise<number> {
    const found = (await this.status()).components.find((one) => one.name === component && one.place === 'process');
    if (!found) throw new Error(`no process of ${component}`);
    return found.pid;
  }

  /** The end of the instance's log, for failures. */
  async logs(): Promise<string> {
    const { stdout } = await run(['tail', '-n', '60', join(this.dataDirectory, 'deckhand.log')]);
    return `\n--- log\n${stdout}`;
  }

  /** `deckhand down`. @throws Error when it fails */
  async down(options: string[] = []): Promise<void> {
    const result = await this.deckhand(['down', '--data-dir', this.dataDirectory, ...options]);
    if (result.status !== 0)
      throw new Error(`deckhand down: status ${result.status}\n${result.stderr}${result.stdout}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.deckhand(['down', '--data-dir', this.dataDirectory]);
    await this.namespace[Symbol.asyncDispose]();
    await rm(this.dataDirectory, { recursive: true, force: true });
  }
}

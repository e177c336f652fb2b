import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type ContainerConfigSchema,
  ContainerState,
  type ContainerStatus,
  ImageService,
  NamespaceMode,
  type PodSandboxConfigSchema,
  RuntimeService,
} from '../../../src/api/cri/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import { createGrpcClient, type GrpcClient, GrpcError } from '../../../src/wire/grpc/index.ts';
import { criImageNames } from '../../support/cri-images.ts';
import type { Feature } from './behaviour.ts';

/** What makes a message, without the messages that could stand in its place. */
type Plain<T> = T extends Uint8Array
  ? T
  : T extends readonly (infer U)[]
    ? Plain<U>[]
    : T extends { $typeName: string }
      ? never
      : T extends object
        ? { [K in keyof T as K extends '$typeName' | '$unknown' ? never : K]: Plain<T[K]> }
        : T;

/** A sandbox's configuration as a plain object. */
export type PodConfig = Plain<MessageInitShape<typeof PodSandboxConfigSchema>>;
/** A container's configuration as a plain object. */
export type ContainerConfig = Plain<MessageInitShape<typeof ContainerConfigSchema>>;

/** What a command in a container gave. */
export interface ExecResult {
  stdout: string;
  stderr: string;
  code: number;
}

/** One line of a CRI log. */
export interface LogLine {
  time: string;
  stream: string;
  tag: string;
  text: string;
}

/** The busybox of Kubernetes' own tests. */
export const busybox = criImageNames.busybox;

/** A command that does nothing until it is told to end. */
export const idle = ['sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1000 & wait $!; done'];

/** A runtime under test, with what behaviours need to talk to it. */
export class Cri implements AsyncDisposable {
  readonly runtime: GrpcClient<typeof RuntimeService>;
  readonly images: GrpcClient<typeof ImageService>;
  readonly endpoint: string;
  /** A directory of this run, on the machine of the runtime. */
  readonly directory: string;
  readonly features: ReadonlySet<Feature>;
  #count = 0;

  constructor(endpoint: string, directory: string, features: ReadonlySet<Feature>) {
    this.endpoint = endpoint;
    this.directory = directory;
    this.features = features;
    this.runtime = createGrpcClient(RuntimeService, endpoint);
    this.images = createGrpcClient(ImageService, endpoint);
  }

  /** A word that nothing else in this run has. */
  unique(prefix: string): string {
    return `${prefix}-${process.pid}-${++this.#count}`;
  }

  /** A fresh directory on the runtime's machine. */
  async newDirectory(): Promise<string> {
    const path = join(this.directory, this.unique('dir'));
    await mkdir(path, { recursive: true });
    return path;
  }

  /** The configuration of a sandbox that nothing else has the name of. Its containers have PID namespaces of their own. */
  podConfig(more: PodConfig = {}): PodConfig {
    const name = this.unique('pod');
    const security = { namespaceOptions: { pid: NamespaceMode.CONTAINER }, ...more.linux?.securityContext };
    return {
      metadata: { name, uid: `uid-${name}`, namespace: 'suite', attempt: 0 },
      logDirectory: join(this.directory, 'logs', name),
      ...more,
      linux: { ...more.linux, securityContext: security } as NonNullable<PodConfig['linux']>,
    };
  }

  /** Runs a sandbox; it is removed at the end of its scope. */
  async pod(more: PodConfig = {}, runtimeHandler = ''): Promise<Pod> {
    const config = this.podConfig(more);
    const { podSandboxId } = await this.runtime.runPodSandbox({ config, runtimeHandler });
    return new Pod(this, podSandboxId, config);
  }

  /** Makes sure that an image is there; gives its id as lists and statuses tell it. */
  async pull(image: string = busybox): Promise<string> {
    const found = (await this.images.imageStatus({ image: { image } })).image;
    if (found) return found.id;
    await this.images.pullImage({ image: { image } });
    return (await this.images.imageStatus({ image: { image } })).image!.id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.runtime.close();
    this.images.close();
  }
}

/** A running sandbox. */
export class Pod implements AsyncDisposable {
  readonly cri: Cri;
  readonly id: string;
  readonly config: PodConfig;

  constructor(cri: Cri, id: string, config: PodConfig) {
    this.cri = cri;
    this.id = id;
    this.config = config;
  }

  async status() {
    return (await this.cri.runtime.podSandboxStatus({ podSandboxId: this.id })).status!;
  }

  /** Its first address. */
  async ip(): Promise<string> {
    return (await this.status()).network!.ip;
  }

  /** The configuration of a container: an idle busybox, unless `more` says otherwise. */
  containerConfig(more: ContainerConfig = {}): ContainerConfig {
    const name = more.metadata?.name ?? this.cri.unique('c');
    const namespaceOptions = this.config.linux?.securityContext?.namespaceOptions;
    return {
      metadata: { name, attempt: 0 },
      image: { image: busybox },
      command: idle,
      logPath: `${name}.log`,
      ...more,
      linux: {
        ...more.linux,
        securityContext: { namespaceOptions, ...more.linux?.securityContext },
      } as NonNullable<ContainerConfig['linux']>,
    };
  }

  /** Creates a container and does not start it. */
  async create(more: ContainerConfig = {}): Promise<Container> {
    const config = this.containerConfig(more);
    const { containerId } = await this.cri.runtime.createContainer({
      podSandboxId: this.id,
      config,
      sandboxConfig: this.config,
    });
    return new Container(this, containerId, config);
  }

  /** Creates a container and starts it. */
  async run(more: ContainerConfig = {}): Promise<Container> {
    const container = await this.create(more);
    await container.start();
    return container;
  }

  /** Runs a shell script to its end; gives the container's status and what it wrote, both streams together. */
  async script(script: string, more: ContainerConfig = {}): Promise<{ status: ContainerStatus; output: string }> {
    const container = await this.run({ command: ['sh', '-c', script], ...more });
    const status = await container.exited();
    return { status, output: await container.wholeOutput() };
  }

  stop() {
    return this.cri.runtime.stopPodSandbox({ podSandboxId: this.id });
  }

  remove() {
    return this.cri.runtime.removePodSandbox({ podSandboxId: this.id });
  }

  /** Also for one that is gone, which some runtimes take for an error. */
  async [Symbol.asyncDispose](): Promise<void> {
    await unlessGone(this.stop());
    await unlessGone(this.remove());
  }
}

/** A container of a sandbox; it goes with the sandbox. */
export class Container {
  readonly pod: Pod;
  readonly id: string;
  readonly config: ContainerConfig;

  constructor(pod: Pod, id: string, config: ContainerConfig) {
    this.pod = pod;
    this.id = id;
    this.config = config;
  }

  get #runtime() {
    return this.pod.cri.runtime;
  }

  async start(): Promise<void> {
    await this.#runtime.startContainer({ containerId: this.id });
  }

  async stop(timeoutSeconds = 0): Promise<void> {
    await this.#runtime.stopContainer({ containerId: this.id, timeout: BigInt(timeoutSeconds) });
  }

  async remove(): Promise<void> {
    await this.#runtime.removeContainer({ containerId: this.id });
  }

  async status(): Promise<ContainerStatus> {
    return (await this.#runtime.containerStatus({ containerId: this.id })).status!;
  }

  /** What `verbose` tells: both runtimes put a JSON document under `info`. */
  async info(): Promise<{ pid: number; runtimeSpec: any }> {
    const { info } = await this.#runtime.containerStatus({ containerId: this.id, verbose: true });
    return JSON.parse(info['info']!);
  }

  async stats() {
    return (await this.#runtime.containerStats({ containerId: this.id })).stats!;
  }

  /** Waits for its end; gives its last status. */
  exited(timeoutMs = 20_000): Promise<ContainerStatus> {
    return pollUntil(
      `the end of container ${this.id.slice(0, 12)}`,
      async () => {
        const status = await this.status();
        return status.state === ContainerState.CONTAINER_EXITED && status;
      },
      { timeoutMs, intervalMs: 30 },
    );
  }

  /** Runs a command in it. */
  async exec(...cmd: string[]): Promise<ExecResult> {
    const result = await this.#runtime.execSync({ containerId: this.id, cmd, timeout: 20n });
    return {
      stdout: Buffer.from(result.stdout).toString(),
      stderr: Buffer.from(result.stderr).toString(),
      code: result.exitCode,
    };
  }

  /** Runs a shell script in it; gives what it wrote, trimmed. @throws Error when it fails */
  async sh(script: string): Promise<string> {
    const { stdout, stderr, code } = await this.exec('sh', '-c', script);
    if (code !== 0) throw new Error(`${script}: status ${code}: ${stderr || stdout}`);
    return stdout.trim();
  }

  get logPath(): string {
    return join(this.pod.config.logDirectory!, this.config.logPath!);
  }

  /** Its log so far. */
  async log(path = this.logPath): Promise<LogLine[]> {
    const text = await readFile(path, 'utf8').catch(() => '');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => {
        const [, time = '', stream = '', tag = '', rest = ''] = /^(\S+) (\S+) (\S+) ?(.*)$/s.exec(line) ?? [];
        return { time, stream, tag, text: rest };
      });
  }

  /** What it wrote, as its log tells it; `stream` picks one. */
  async output(stream?: 'stdout' | 'stderr'): Promise<string> {
    return textOf((await this.log()).filter((line) => !stream || line.stream === stream));
  }

  /** What it wrote, once nothing more comes: some runtimes write the last lines after they have told the end. */
  async wholeOutput(): Promise<string> {
    let last: string | undefined;
    await pollUntil(
      'the end of the log',
      async () => {
        const now = await this.output();
        const same = now === last;
        last = now;
        return same;
      },
      { timeoutMs: 6000, intervalMs: 40 },
    );
    return last!;
  }

  /** Waits until its log holds a text. */
  async logged(text: string): Promise<void> {
    await pollUntil(`"${text}" in the log`, async () => (await this.output()).includes(text), {
      timeoutMs: 15_000,
      intervalMs: 30,
    });
  }
}

async function unlessGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof GrpcError && error.code === 'NOT_FOUND')) throw error;
  }
}

/** Log lines as what was written. */
export function textOf(lines: readonly LogLine[]): string {
  return lines.map(({ text, tag }) => (tag.startsWith('P') ? text : `${text}\n`)).join('');
}

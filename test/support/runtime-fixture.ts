import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ContainerConfig,
  ContainerConfigSchema,
  ContainerState,
  ImageService,
  LinuxContainerConfigSchema,
  LinuxContainerSecurityContextSchema,
  NamespaceMode,
  type PodSandboxConfig,
  PodSandboxConfigSchema,
  RuntimeService,
} from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { openCgroups, removeCgroupTree } from '../../src/host/cgroups/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { type ArchiveEntry, busyboxEntries, layoutFiles, makeImage, makeLayer, writeFiles } from './images.ts';
import { NetworkNamespace } from './network-namespace.ts';

const applets =
  'sh sleep cat echo id hostname ls true false touch mkdir chmod dd kill seq stty test printf tail head mount umount ' +
  'unshare stat mknod chown df env readlink ps nproc grep rm ln sync wc tr top ip ping nc dmesg chroot hexdump';

/** What a test says of a pod. */
export type PodInit = Exclude<MessageInitShape<typeof PodSandboxConfigSchema>, PodSandboxConfig>;
/** What a test says of a container. */
export type ContainerInit = Exclude<MessageInitShape<typeof ContainerConfigSchema>, ContainerConfig>;

/** A pod that runs. */
export interface TestPod {
  id: string;
  config: PodSandboxConfig;
}

let started = 0;

/**
 * With the built-in bridge. Tests that are told which OCI runtime to use are in a kernel that it works in, which may have no
 * nftables: there a CNI plugin makes the network.
 */
async function settingsOf(base: string, ociRuntime: string | undefined): Promise<object> {
  if (!ociRuntime) return { podCidr: '10.98.0.0/24', bridgeName: 'dhtest0' };
  const cniConfDir = join(base, 'cni');
  await mkdir(cniConfDir);
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.98.0.0/24' }]], dataDir: join(base, 'ipam') };
  const network = { cniVersion: '1.0.0', name: 'test', plugins: [{ type: 'bridge', bridge: 'dhtest0', ipam }] };
  await writeFile(join(cniConfDir, '10-test.conflist'), JSON.stringify(network));
  return { cniConfDir, runtimes: [{ name: basename(ociRuntime), path: ociRuntime }] };
}

/** What a fixture is started with. */
export interface FixtureOptions {
  /** More settings of the runtime. */
  settings?: object;
  /** More files of the image, in a layer of their own. */
  entries?: readonly ArchiveEntry[];
  /** More of the image's configuration. */
  imageConfig?: object;
  /** Settings that are lists of directories, as names below the fixture's own. */
  ownDirectories?: Readonly<Record<string, readonly string[]>>;
}

/**
 * A runtime of its own, in a network namespace without an uplink, with a small image named `busybox`.
 */
export class RuntimeFixture implements AsyncDisposable {
  readonly base: string;
  readonly cgroupParent: string;
  readonly cri: GrpcClient<typeof RuntimeService>;
  readonly images: GrpcClient<typeof ImageService>;
  readonly #namespace: NetworkNamespace;
  readonly #settings: object;
  #process: ChildProcess | undefined;
  #pods = 0;

  private constructor(base: string, namespace: NetworkNamespace, settings: object) {
    this.base = base;
    this.cgroupParent = `/deckhand-test-${process.pid}-${started++}`;
    this.#namespace = namespace;
    this.#settings = settings;
    this.cri = createGrpcClient(RuntimeService, join(base, 'cri.sock'));
    this.images = createGrpcClient(ImageService, join(base, 'cri.sock'));
  }

  static async start(purpose: string, options: FixtureOptions = {}): Promise<RuntimeFixture> {
    const base = await mkdtemp(join(tmpdir(), `dh-${purpose}-`));
    const namespace = await NetworkNamespace.create(purpose);
    const directories = Object.entries(options.ownDirectories ?? {}).map(([name, paths]) => [
      name,
      paths.map((path) => join(base, path)),
    ]);
    const fixture = new RuntimeFixture(base, namespace, {
      ...(await settingsOf(base, process.env['DECKHAND_TEST_OCI_RUNTIME'])),
      ...Object.fromEntries(directories),
      ...options.settings,
    });
    // Root of a user namespace is somebody else outside, and must get through.
    await chmod(base, 0o711);
    const layers = [await busyboxEntries(applets.split(' ')), ...(options.entries ? [options.entries] : [])];
    const image = makeImage(
      layers.map((entries) => makeLayer(entries)),
      { config: { Env: ['PATH=/bin'], Cmd: ['sh'], ...options.imageConfig } },
    );
    await writeFiles(join(base, 'layout'), layoutFiles([{ image }]));
    await fixture.startRuntime([join(base, 'layout'), 'busybox']);
    return fixture;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async startRuntime(archive: readonly string[] = []): Promise<void> {
    const settings = JSON.stringify({
      listen: join(this.base, 'cri.sock'),
      root: join(this.base, 'root'),
      state: join(this.base, 'state'),
      cgroupParent: this.cgroupParent,
      ...this.#settings,
    });
    const script = join(import.meta.dirname, 'runtime-process.ts');
    const [program, ...argv] = [...this.#namespace.enter(), process.execPath, script, settings, ...archive] as [
      string,
      ...string[],
    ];
    const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process = child;
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the runtime ended with status ${code}`)));
    });
  }

  async endRuntime(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** A pod's configuration: a PID namespace for each container unless it says otherwise. */
  podConfig(more: PodInit = {}): PodSandboxConfig {
    const name = `pod${++this.#pods}`;
    return create(PodSandboxConfigSchema, {
      metadata: { name, namespace: 'default', uid: `uid-${name}`, attempt: 0 },
      hostname: name,
      logDirectory: join(this.base, 'logs', name),
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
      ...more,
    });
  }

  /** Runs a pod; gives its id and configuration. */
  async pod(more: PodInit = {}, handler = ''): Promise<TestPod> {
    const config = this.podConfig(more);
    const { podSandboxId } = await this.cri.runPodSandbox({ config, runtimeHandler: handler });
    return { id: podSandboxId, config };
  }

  /** Creates a container with the pod's own namespace options. */
  async create(pod: TestPod, command: readonly string[], more: ContainerInit = {}): Promise<string> {
    const name = `c${++this.#pods}`;
    const config = create(ContainerConfigSchema, {
      metadata: { name, attempt: 0 },
      image: { image: 'busybox' },
      command: [...command],
      logPath: `${name}.log`,
      ...more,
    });
    const { namespaceOptions } = pod.config.linux?.securityContext ?? {};
    config.linux ??= create(LinuxContainerConfigSchema);
    config.linux.securityContext ??= create(LinuxContainerSecurityContextSchema);
    if (namespaceOptions) config.linux.securityContext.namespaceOptions ??= namespaceOptions;
    const { containerId } = await this.cri.createContainer({
      podSandboxId: pod.id,
      config,
      sandboxConfig: pod.config,
    });
    return containerId;
  }

  /** Creates and starts a container. */
  async start(pod: TestPod, command: readonly string[], more: ContainerInit = {}): Promise<string> {
    const containerId = await this.create(pod, command, more);
    await this.cri.startContainer({ containerId });
    return containerId;
  }

  /** Runs a container to its end; gives its status, and its output and errors as lines. */
  async runToEnd(pod: TestPod, script: string, more: ContainerInit = {}) {
    const containerId = await this.start(pod, ['sh', '-c', script], more);
    const status = await this.ended(containerId);
    const lines = await this.log(containerId);
    return { containerId, status, lines, output: lines.join('\n') };
  }

  async status(containerId: string) {
    return (await this.cri.containerStatus({ containerId })).status!;
  }

  ended(containerId: string) {
    return pollUntil(
      'the end of the container',
      async () => {
        const now = await this.status(containerId);
        return now.state === ContainerState.CONTAINER_EXITED && now;
      },
      { timeoutMs: 30_000 },
    );
  }

  /** The lines of a container's log without their tags. */
  async log(containerId: string): Promise<string[]> {
    const { logPath } = await this.status(containerId);
    const partial: Record<string, string> = {};
    const whole: string[] = [];
    for (const line of (await readFile(logPath, 'utf8')).split('\n').filter(Boolean)) {
      const [, stream = '', tag, ...words] = line.split(' ');
      partial[stream] = (partial[stream] ?? '') + words.join(' ');
      if (tag === 'P') continue;
      // The end of what was written in parts, when that ended with its line, is a line of nothing.
      whole.push(partial[stream]);
      partial[stream] = '';
    }
    return [...whole, ...Object.values(partial).filter(Boolean)];
  }

  /** What a command in a container says, with its errors. */
  async output(containerId: string, ...cmd: string[]): Promise<string> {
    const result = await this.cri.execSync({ containerId, cmd, timeout: 30n });
    return (Buffer.from(result.stdout).toString() + Buffer.from(result.stderr).toString()).trim();
  }

  /** A file of a cgroup in the tree of a controller. */
  cgroupFile(controller: string, path: string, file: string): string {
    const directory = openCgroups().directory(controller, path);
    assert.ok(directory, `there is no ${controller} controller`);
    return readFileSync(join(directory, file), 'utf8').trim();
  }

  /** The cgroup of a container, and its pid, as the verbose status tells. */
  async details(containerId: string): Promise<{ pid: number; cgroupPath: string; runtimeSpec: any }> {
    const { info } = await this.cri.containerStatus({ containerId, verbose: true });
    return JSON.parse(info.info ?? '{}');
  }

  /** Removes everything, and makes sure that nothing is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { items } = await this.cri.listPodSandbox({});
    await Promise.all(items.map(({ id }) => this.cri.removePodSandbox({ podSandboxId: id })));
    await this.endRuntime('SIGTERM');
    await removeCgroupTree(this.cgroupParent);
    this.cri.close();
    this.images.close();
    await this.#namespace[Symbol.asyncDispose]();
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.base));
    assert.deepEqual(mounts, []);
    await rm(this.base, { recursive: true, force: true });
  }
}

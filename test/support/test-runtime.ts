import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NamespaceMode, RuntimeService } from '../../src/api/cri/index.ts';
import { systemClock } from '../../src/async/index.ts';
import { removeCgroupTree } from '../../src/host/cgroups/index.ts';
import { calls } from '../../src/host/system-calls/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { busyboxEntries, layoutFiles, makeImage, makeLayer, writeFiles } from './images.ts';
import { output } from './processes.ts';

const applets =
  'sh sleep cat echo id hostname ls true false touch ip ping httpd wget mkdir dd kill seq stty test nc printf tail head md5sum sha256sum wc yes env pwd setsid ulimit grep od tr rm'.split(
    ' ',
  );

/** A container in a pod of its own. */
export interface TestContainer {
  podSandboxId: string;
  containerId: string;
  log: string;
}

/**
 * A container runtime in a process of its own with an image `busybox`, in a network namespace without an uplink in which
 * this process is too: only for tests that have their process for themselves, as test files have.
 */
export class TestRuntime implements AsyncDisposable {
  readonly base: string;
  readonly cgroupParent: string;
  readonly #settings: object;
  readonly #pods = new Map<string, string>();
  #process: ChildProcess | undefined;
  #count = 0;
  cri!: GrpcClient<typeof RuntimeService>;

  private constructor(base: string, settings: object) {
    this.base = base;
    this.#settings = settings;
    this.cgroupParent = `/deckhand-test-${process.pid}`;
  }

  /** Starts a runtime; `settings` go over the usual ones. */
  static async create(purpose: string, settings: object = {}): Promise<TestRuntime> {
    const base = await mkdtemp(join(tmpdir(), `dh-${purpose}-`));
    const newNetworkNamespace = 0x40000000;
    calls.unshare(newNetworkNamespace);
    await output(['ip', 'link', 'set', 'lo', 'up']);
    const runtime = new TestRuntime(base, settings);
    const layer = makeLayer(await busyboxEntries(applets));
    const image = makeImage([layer], { config: { Env: ['PATH=/bin'], Cmd: ['sh'] } });
    await writeFiles(join(base, 'layout'), layoutFiles([{ image }]));
    await runtime.start([join(base, 'layout'), 'busybox']);
    runtime.cri = createGrpcClient(RuntimeService, join(base, 'cri.sock'));
    return runtime;
  }

  get pid(): number {
    return this.#process!.pid!;
  }

  /** Starts the process of the runtime. */
  async start(archive: readonly string[] = []): Promise<void> {
    const settings = JSON.stringify({
      listen: join(this.base, 'cri.sock'),
      root: join(this.base, 'root'),
      state: join(this.base, 'state'),
      podCidr: '10.97.0.0/16',
      bridgeName: `dht${process.pid % 100_000}`,
      cgroupParent: this.cgroupParent,
      ...this.#settings,
    });
    const script = join(import.meta.dirname, 'runtime-process.ts');
    const child = spawn(process.execPath, [script, settings, ...archive], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process = child;
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the runtime ended with status ${code}`)));
    });
  }

  /** Ends the process of the runtime; SIGUSR2 has everything removed. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** Runs a command in a new pod. `config` goes over the container's. */
  async run(command: string[], config: object = {}, options: { hostNetwork?: boolean } = {}): Promise<TestContainer> {
    const name = `pod${++this.#count}`;
    const namespaceOptions = {
      pid: NamespaceMode.CONTAINER,
      network: options.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    };
    const sandboxConfig = {
      metadata: { name, namespace: 'default', uid: name, attempt: 0 },
      hostname: options.hostNetwork ? '' : name,
      logDirectory: join(this.base, 'logs'),
      linux: { securityContext: { namespaceOptions } },
    };
    const { podSandboxId } = await this.cri.runPodSandbox({ config: sandboxConfig });
    this.#pods.set(podSandboxId, name);
    const { containerId } = await this.cri.createContainer({
      podSandboxId,
      config: {
        metadata: { name: 'main', attempt: 0 },
        image: { image: 'busybox' },
        command,
        logPath: `${name}.log`,
        linux: { securityContext: { namespaceOptions } },
        ...config,
      },
      sandboxConfig,
    });
    await this.cri.startContainer({ containerId });
    return { podSandboxId, containerId, log: join(this.base, 'logs', `${name}.log`) };
  }

  /** Removes pods. */
  async remove(...containers: TestContainer[]): Promise<void> {
    await Promise.all(containers.map(({ podSandboxId }) => this.cri.removePodSandbox({ podSandboxId })));
  }

  /** What a command in a container says. */
  async output(containerId: string, ...cmd: string[]): Promise<string> {
    return Buffer.from((await this.cri.execSync({ containerId, cmd, timeout: 20n })).stdout)
      .toString()
      .trim();
  }

  /** Kind and target of every open descriptor of the runtime's process. */
  descriptors(): string[] {
    return readdirSync(`/proc/${this.pid}/fd`).flatMap((fd) => {
      try {
        return readlinkSync(`/proc/${this.pid}/fd/${fd}`);
      } catch {
        return [];
      }
    });
  }

  /** Resident memory of the runtime's process, bytes. */
  memory(): number {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))![1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cri?.close();
    await this.end('SIGUSR2');
    await removeCgroupTree(this.cgroupParent, systemClock).catch(() => {});
    await rm(this.base, { recursive: true, force: true });
  }
}

/** Processes whose command line holds a text, as pids. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').includes(text);
      } catch {
        return false;
      }
    });
}

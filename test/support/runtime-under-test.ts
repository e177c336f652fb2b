import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ImageService, RuntimeService } from '../../src/api/cri/index.ts';
import { isMountPoint, mountTmpfs, unmount } from '../../src/host/mounts/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { busyboxEntries, layoutFiles, makeImage, makeLayer, writeFiles } from './images.ts';
import { NetworkNamespace } from './network-namespace.ts';
import { run } from './processes.ts';

let count = 0;

/** How a runtime under test is. */
export interface RuntimeUnderTestOptions {
  /** More settings. */
  settings?: Record<string, unknown>;
  /** Applets of the image `busybox`. */
  applets?: readonly string[];
  /** Called before the first start, to write files and change the settings. */
  prepare?: (settings: Record<string, unknown>, base: string) => Promise<void>;
  /** Makes the root directory a file system of this size. */
  rootBytes?: number;
}

/**
 * A runtime in a process of its own, which can be killed, have faults armed, and be started again on the same
 * directories; and a look at everything that it has on the machine. All in a network namespace of its own.
 */
export class RuntimeUnderTest implements AsyncDisposable {
  readonly base: string;
  readonly namespace: NetworkNamespace;
  readonly cgroupParent: string;
  readonly root: string;
  readonly state: string;
  cri!: GrpcClient<typeof RuntimeService>;
  images!: GrpcClient<typeof ImageService>;
  /** What it logged, the last 200 lines. */
  readonly log: string[] = [];
  readonly #settings: Record<string, unknown>;
  #child: ChildProcess | undefined;
  #lines: ((line: string) => void)[] = [];
  #ended: Promise<void> = Promise.resolve();

  private constructor(base: string, namespace: NetworkNamespace, options: RuntimeUnderTestOptions) {
    this.base = base;
    this.namespace = namespace;
    this.cgroupParent = `/dh-survival-${process.pid}-${count++}`;
    this.root = join(base, 'root');
    this.state = join(base, 'state');
    this.#settings = { ...options.settings };
  }

  /** Makes the directories, the namespace and the image `busybox`, and starts it. */
  static async create(purpose: string, options: RuntimeUnderTestOptions = {}): Promise<RuntimeUnderTest> {
    const base = await mkdtemp(join(tmpdir(), `dh-${purpose}-`));
    const runtime = new RuntimeUnderTest(base, await NetworkNamespace.create(purpose), options);
    const applets = options.applets ?? ['sh', 'sleep', 'true', 'cat', 'echo', 'id'];
    const image = makeImage([makeLayer(await busyboxEntries(applets))], { config: { Env: ['PATH=/bin'] } });
    await writeFiles(join(base, 'layout'), layoutFiles([{ image }]));
    try {
      await options.prepare?.(runtime.#settings, base);
      if (options.rootBytes) {
        await mkdir(runtime.root);
        mountTmpfs(runtime.root, { sizeBytes: options.rootBytes });
      }
      await runtime.start({ archive: true });
    } catch (cause) {
      await runtime[Symbol.asyncDispose]();
      throw cause;
    }
    return runtime;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Whether it runs. */
  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts it; gives whether it came to serve (a fault may kill it before). */
  async start(options: { faults?: string; archive?: boolean } = {}): Promise<boolean> {
    const settings = JSON.stringify({
      listen: join(this.base, 'cri.sock'),
      root: this.root,
      state: this.state,
      podCidr: '10.97.0.0/27',
      bridgeName: 'dhsurv0',
      cgroupParent: this.cgroupParent,
      ...this.#settings,
    });
    const argv = [...this.namespace.enter(), process.execPath, '--disable-warning=ExperimentalWarning'];
    argv.push(join(import.meta.dirname, 'runtime-process.ts'), settings);
    if (options.archive) argv.push(join(this.base, 'layout'), 'busybox');
    const env = { ...process.env, DECKHAND_FAULT: options.faults ?? '' };
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], env });
    this.#child = child;
    child.stdin!.on('error', () => {});
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (this.log.push(line) > 200) this.log.shift();
    });
    createInterface({ input: child.stdout! }).on('line', (line) => this.#lines.shift()?.(line));
    const ready = this.#nextLine().then(() => true);
    const serves = await Promise.race([ready, this.#ended.then(() => false)]);
    this.#lines = [];
    if (serves) {
      this.cri = createGrpcClient(RuntimeService, join(this.base, 'cri.sock'));
      this.images = createGrpcClient(ImageService, join(this.base, 'cri.sock'));
    }
    return serves;
  }

  /** Arms faults in the running process, in place of those armed before. Gives the names of those that had not gone off. */
  async arm(faults: string): Promise<string[]> {
    const armed = this.#nextLine();
    this.#child!.stdin!.write(`${faults}\n`);
    const answer = await Promise.race([armed, this.#ended]);
    return (answer ?? '').split(' ').slice(1).filter(Boolean);
  }

  /** Resolves when the process has ended; connections are closed. */
  async ended(): Promise<void> {
    await this.#ended;
    this.cri?.close();
    this.images?.close();
  }

  /** Ends it: SIGKILL leaves all, SIGTERM leaves containers, SIGUSR2 removes everything. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.running) this.#child!.kill(signal);
    await this.ended();
  }

  /** What a reboot leaves: no process, mount, cgroup or link, no state; the root directory is as it was at that moment. */
  async reboot(): Promise<void> {
    await this.end('SIGKILL');
    await this.#clear();
    await rm(this.state, { recursive: true, force: true });
  }

  async #clear(): Promise<void> {
    for (let left = this.processes(); left.length > 0; left = this.processes()) for (const { pid } of left) kill(pid);
    for (const path of this.mounts().reverse()) await run(['umount', '--lazy', path]);
    for (const path of this.#cgroups().reverse()) await run(['rmdir', path]);
    for (const name of await this.#links()) await this.namespace.run(['ip', 'link', 'delete', name]);
  }

  async #links(): Promise<string[]> {
    const links = await this.namespace.output(['ip', '-o', 'link', 'show']);
    return [...links.matchAll(/^\d+: (dh[0-9a-f]{12})/gm)].map((match) => match[1]!);
  }

  /** Everything that it has on the machine, one line each; of the files those that are not of the image store. */
  async inventory(): Promise<string[]> {
    const [links, rules] = await Promise.all([this.#links(), this.namespace.output(['nft', '-s', 'list', 'ruleset'])]);
    return [
      ...this.processes().map(({ pid, command }) => `process ${pid} ${command}`),
      ...this.mounts().map((path) => `mount ${path}`),
      ...this.#cgroups().map((path) => `cgroup ${path}`),
      ...links.map((name) => `link ${name}`),
      ...rules
        .split('\n')
        .filter((line) => / dnat to /.test(line))
        .map((line) => `rule ${line.trim()}`),
      ...[this.root, this.state]
        .flatMap((directory) => files(directory))
        .filter((path) => !/\/images(\/|$)/.test(path)),
    ].sort();
  }

  /** Processes that it started, which name its directory or stand in its cgroups. */
  processes(): { pid: number; command: string }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== this.#child?.pid && Number(name) !== process.pid)
      .map((name) => ({
        pid: Number(name),
        command: read(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim(),
        cgroup: read(`/proc/${name}/cgroup`),
      }))
      .filter(({ command, cgroup }) => command.includes(this.base) || cgroup.includes(`${this.cgroupParent}/`))
      .filter(({ command }) => !command.includes('runtime-process.ts'));
  }

  mounts(): string[] {
    const paths = read('/proc/self/mountinfo')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '');
    const own = [this.root, this.state];
    return paths.filter((path) => own.some((directory) => path.startsWith(`${directory}/`)));
  }

  #cgroups(): string[] {
    return readdirSync('/sys/fs/cgroup', { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => files(`/sys/fs/cgroup/${name}${this.cgroupParent}`, true))
      .filter((path) => !path.endsWith(this.cgroupParent));
  }

  #nextLine(): Promise<string> {
    return new Promise((resolve) => this.#lines.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) await this.end('SIGUSR2');
    // Whatever a failed test has left.
    await this.#clear();
    if (isMountPoint(this.root)) unmount(this.root);
    await this.namespace[Symbol.asyncDispose]();
    await rm(this.base, { recursive: true, force: true });
  }
}

/** Names of all fault points of a room, as the source has them. */
export function faultPointsIn(room: string): string[] {
  const source = join(import.meta.dirname, '../../src', room);
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .flatMap((path) => [...read(join(source, path)).matchAll(/\bfaultPoint\('([^']+)'\)/g)].map((match) => match[1]!))
    .sort();
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** All that is below a directory, and the directory; nothing when it is not there. */
function files(directory: string, directoriesOnly = false): string[] {
  try {
    const below = readdirSync(directory, { withFileTypes: true });
    return [
      directory,
      ...below.flatMap((entry) =>
        entry.isDirectory()
          ? files(join(directory, entry.name), directoriesOnly)
          : directoriesOnly
            ? []
            : [join(directory, entry.name)],
      ),
    ];
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../async/index.ts';
import { AttachWindow } from './attach-window.ts';
import { type CgroupDetails, readDetails } from './details.ts';
import { type CgroupLimits, limitWrites } from './limits.ts';
import { OpenFiles } from './open-files.ts';
import { type CgroupSample, type ReadFile, readSample } from './sample.ts';
import { type CgroupUsage, readUsage } from './usage.ts';

/** How control groups are mounted: one tree per controller, the same beside an empty v2 tree, or one v2 tree. */
export type CgroupVersion = 'v1' | 'hybrid' | 'v2';

const cgroupRoot = '/sys/fs/cgroup';
const cgroup2Magic = 0x63677270;

/** The control groups of this machine. Paths are absolute within the trees: `/kubepods/burstable/pod1`. */
export class CgroupTree {
  readonly version: CgroupVersion;
  /** Controller → directory where its tree is mounted. On v2 every controller has the same. */
  readonly mounts: ReadonlyMap<string, string>;
  readonly #files = new OpenFiles();
  readonly #window: AttachWindow;

  constructor(version: CgroupVersion, mounts: ReadonlyMap<string, string>) {
    this.version = version;
    this.mounts = mounts;
    this.#window = new AttachWindow(mounts);
  }

  /** Says that a process is about to be put into a cgroup by somebody, which the kernel then does at once. */
  expectAttach(): void {
    this.#window.open();
  }

  /** The directories of a cgroup, one for each tree. */
  directories(path: string): string[] {
    return [...new Set(this.mounts.values())].map((mount) => join(mount, path));
  }

  /** The directory of a cgroup in the tree of a controller. */
  directory(controller: string, path: string): string | undefined {
    const mount = this.mounts.get(controller);
    return mount && join(mount, path);
  }

  /** Whether the cgroup exists in any tree. */
  exists(path: string): boolean {
    return this.directories(path).some((directory) => existsSync(directory));
  }

  /** Makes a cgroup with its parents; on v2 the parents hand all controllers down. May be there already. */
  create(path: string): void {
    for (const directory of this.directories(path)) mkdirSync(directory, { recursive: true });
    if (this.version === 'v2') this.#enableControllers(path);
    else this.#inheritCpuset(path);
  }

  /** Puts a process into a cgroup. The kernel may take its time, which is waited for on another thread. */
  async add(path: string, pid: number): Promise<void> {
    for (const directory of this.directories(path)) await writeFile(join(directory, 'cgroup.procs'), String(pid));
  }

  /** The processes in a cgroup and below it. */
  processes(path: string): number[] {
    const directory = this.directory('pids', path) ?? this.directories(path)[0];
    return directory ? [...new Set(processesBelow(directory))] : [];
  }

  /** Ends every process in a cgroup and below it, also ones that fork meanwhile; resolves when none is left or time is up. */
  async kill(path: string, options: { clock: Clock; timeoutMs?: number }): Promise<boolean> {
    const end = options.clock.monotonic() + (options.timeoutMs ?? 5000);
    const killFile = this.version === 'v2' ? join(cgroupRoot, path, 'cgroup.kill') : undefined;
    for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
      const left = this.processes(path);
      if (left.length === 0) return true;
      if (killFile && existsSync(killFile)) writeFileSync(killFile, '1');
      else this.#killAll(path, left, wait > 4);
      if (options.clock.monotonic() >= end) return false;
      await options.clock.sleep(wait);
    }
  }

  /** Removes a cgroup and those below it; its processes must have ended. Nothing there is no error. */
  async remove(path: string, options: { clock: Clock; timeoutMs?: number }): Promise<void> {
    if (path === '' || path === '/') throw new Error('the root cgroup cannot be removed');
    this.#files.forget(path);
    const end = options.clock.monotonic() + (options.timeoutMs ?? 1000);
    for (const directory of this.directories(path)) {
      for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
        try {
          removeBelow(directory);
          break;
        } catch (cause) {
          // The kernel takes a moment to forget processes that have just ended.
          if ((cause as { code?: string }).code !== 'EBUSY' || options.clock.monotonic() >= end) throw cause;
          await options.clock.sleep(wait);
        }
      }
    }
  }

  /** Sets limits; only those that are given change. @throws Error naming the file that refused */
  apply(path: string, limits: CgroupLimits): void {
    for (const { controller, file, value, lenient } of limitWrites(limits, this.version === 'v2')) {
      const directory = this.directory(controller, path);
      if (!directory) {
        if (lenient) continue;
        throw new Error(`cannot set ${file}: there is no ${controller} controller on this machine`);
      }
      try {
        writeFileSync(join(directory, file), value, { flag: 'r+' });
      } catch (cause) {
        const isMissing = (cause as { code?: string }).code === 'ENOENT';
        if (lenient === 'refused' || (lenient && isMissing)) continue;
        throw new Error(`cannot set ${file} to ${value}: ${(cause as Error).message}`, { cause });
      }
    }
  }

  /** What a cgroup uses now; undefined when it does not exist. */
  usage(path: string): CgroupUsage | undefined {
    return this.exists(path)
      ? readUsage((controller) => this.directory(controller, path), this.version === 'v2')
      : undefined;
  }

  /** What it uses per device and page size, and its limits as the kernel has them; undefined when it does not exist. */
  details(path: string): CgroupDetails | undefined {
    return this.exists(path)
      ? readDetails((controller) => this.directory(controller, path), this.version === 'v2')
      : undefined;
  }

  /** Closes what is kept open for samples of a cgroup and those below it: somebody else has removed them. */
  forget(path: string): void {
    this.#files.forget(path);
  }

  /** What is asked for often of that, read cheaply; undefined when the cgroup does not exist. */
  sample(path: string): CgroupSample | undefined {
    const read: ReadFile = (controller, file) => {
      const mount = this.mounts.get(controller);
      return mount && this.#files.read(path, file, () => `${mount}${path}/${file}`);
    };
    return readSample(read, this.version === 'v2');
  }

  /** How many processes the kernel has killed in the cgroup for want of memory. */
  outOfMemoryKills(path: string): number {
    const [file, pattern] =
      this.version === 'v2'
        ? (['memory.events', /^oom_kill (\d+)/m] as const)
        : (['memory.oom_control', /^oom_kill (\d+)/m] as const);
    const directory = this.directory('memory', path);
    try {
      return Number(pattern.exec(readFileSync(join(directory ?? '', file), 'utf8'))?.[1] ?? 0);
    } catch {
      return 0;
    }
  }

  /**
   * v1: what is frozen takes no signal before it is thawed. Processes that fork faster than they can be found are frozen
   * first, all at once.
   */
  #killAll(path: string, processes: readonly number[], freeze: boolean): void {
    if (freeze && this.#setFreezer(path, 'FROZEN')) processes = this.processes(path);
    for (const pid of processes) killProcess(pid);
    this.#setFreezer(path, 'THAWED');
  }

  #setFreezer(path: string, state: 'FROZEN' | 'THAWED'): boolean {
    const directory = this.directory('freezer', path);
    if (!directory) return false;
    try {
      const file = join(directory, 'freezer.state');
      if (readFileSync(file, 'utf8').trim() !== state) writeFileSync(file, state);
      return true;
    } catch {
      // It has just been removed.
      return false;
    }
  }

  #enableControllers(path: string): void {
    const steps = path.split('/').filter(Boolean);
    const wanted = [...this.mounts.keys()].filter((name) => name !== 'unified');
    for (let depth = 0; depth < steps.length; depth++) {
      const control = join(cgroupRoot, ...steps.slice(0, depth), 'cgroup.subtree_control');
      for (const name of wanted) {
        try {
          writeFileSync(control, `+${name}`);
        } catch {
          // A controller that is not there for us: what needs it says so when it sets a limit.
        }
      }
    }
  }

  /** A v1 cpuset takes no process before it has processors and memory nodes. */
  #inheritCpuset(path: string): void {
    const mount = this.mounts.get('cpuset');
    if (!mount) return;
    const steps = path.split('/').filter(Boolean);
    for (let depth = 1; depth <= steps.length; depth++) {
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        const own = join(mount, ...steps.slice(0, depth), file);
        if (readFileSync(own, 'utf8').trim() !== '') continue;
        writeFileSync(own, readFileSync(join(mount, ...steps.slice(0, depth - 1), file), 'utf8').trim());
      }
    }
  }
}

/** Finds out how control groups are mounted here. @throws Error when they are not */
export function openCgroups(): CgroupTree {
  if (statfsSync(cgroupRoot).type === cgroup2Magic) {
    const controllers = readFileSync(join(cgroupRoot, 'cgroup.controllers'), 'utf8').trim().split(' ');
    return new CgroupTree('v2', new Map(['unified', ...controllers].map((name) => [name, cgroupRoot])));
  }
  const mounts = new Map<string, string>();
  let unified: string | undefined;
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, target = '', type, options = ''] = line.split(' ');
    if (type === 'cgroup2' && target.startsWith(cgroupRoot)) unified = target;
    if (type !== 'cgroup' || !target.startsWith(cgroupRoot)) continue;
    for (const option of options.split(',')) if (knownControllers.has(option)) mounts.set(option, target);
  }
  if (mounts.size === 0) throw new Error(`no control groups are mounted below ${cgroupRoot}`);
  // The OCI runtimes make directories in the empty v2 tree too.
  if (unified) mounts.set('unified', unified);
  return new CgroupTree(unified ? 'hybrid' : 'v1', mounts);
}

/** Ends everything in a cgroup and below it and removes it from every tree; nothing there is no error. */
export async function removeCgroupTree(path: string, clock: Clock = systemClock): Promise<void> {
  const tree = openCgroups();
  await tree.kill(path, { clock });
  await tree.remove(path, { clock });
}

const knownControllers = new Set(
  'cpu cpuacct cpuset memory devices freezer net_cls net_prio blkio perf_event hugetlb pids rdma misc name=systemd'.split(
    ' ',
  ),
);

/** The processes in a directory of a tree and below it. */
export function processesBelow(directory: string): number[] {
  try {
    const own = readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
    const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...own, ...below.flatMap((entry) => processesBelow(join(directory, entry.name)))];
  } catch {
    return [];
  }
}

function removeBelow(directory: string): void {
  if (!existsSync(directory)) return;
  try {
    rmdirSync(directory);
    return;
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code === 'ENOENT') return;
    if (code !== 'EBUSY' && code !== 'ENOTEMPTY') throw cause;
  }
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) removeBelow(join(directory, entry.name));
  rmdirSync(directory);
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

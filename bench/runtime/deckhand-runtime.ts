import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { RuntimeService } from '../../src/api/cri/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import type { NetworkNamespace } from '../../test/support/network-namespace.ts';

/** `deckhand runtime` as its users run it, on directories that stay when it is killed and started again. */
export class DeckhandRuntime {
  readonly base: string;
  readonly socket: string;
  readonly cgroupParent = `/deckhand-bench-${process.pid}`;
  cri!: GrpcClient<typeof RuntimeService>;
  readonly #namespace: NetworkNamespace;
  #child: ChildProcess | undefined;

  constructor(namespace: NetworkNamespace, base: string) {
    this.#namespace = namespace;
    this.base = base;
    this.socket = join(base, 'cri.sock');
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Makes the configuration and brings an image from an OCI layout in as `busybox`. */
  async prepare(layout: string): Promise<void> {
    const settings = { podCidr: '10.98.0.0/22', bridgeName: 'dhbench0', cgroupParent: this.cgroupParent };
    await writeFile(join(this.base, 'runtime.yaml'), JSON.stringify(settings));
    const directories = { listen: this.socket, root: join(this.base, 'root'), state: join(this.base, 'state') };
    const script = join(import.meta.dirname, '../../test/support/runtime-process.ts');
    const argv = [process.execPath, '--disable-warning=ExperimentalWarning', script];
    argv.push(JSON.stringify({ ...settings, ...directories }), layout, 'busybox');
    const child = this.#spawn(argv);
    await once(child.stdout!, 'data');
    child.kill('SIGTERM');
    await once(child, 'exit');
    // Twice, so that compiled code is kept: a user's second start.
    await this.start();
    await this.end('SIGTERM');
  }

  /** Starts it; gives how long it took until a call was answered, milliseconds. */
  async start(): Promise<number> {
    const program = join(import.meta.dirname, '../../bin/deckhand');
    const started = performance.now();
    const argv = [program, 'runtime', '--listen', `unix://${this.socket}`, '--config', join(this.base, 'runtime.yaml')];
    this.#child = this.#spawn([...argv, '--root', join(this.base, 'root'), '--state', join(this.base, 'state')]);
    while (!(await this.#accepts())) {
      if (this.#child.exitCode !== null) throw new Error('the runtime did not start');
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.cri = createGrpcClient(RuntimeService, this.socket);
    await this.cri.listContainers({});
    return performance.now() - started;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.cri.close();
    const ended = once(this.#child!, 'exit');
    this.#child!.kill(signal);
    await ended;
  }

  /** Processor time so far, milliseconds. */
  cpuMs(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** Resident memory of the runtime, and of all monitors together, MB. */
  memory(): { runtimeMb: number; monitorsMb: number; monitorsShareMb: number; monitors: number } {
    const monitors = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && this.#isMonitor(pid));
    const sum = (field: string) => monitors.reduce((all, pid) => all + memoryOf(pid, field), 0);
    return {
      runtimeMb: memoryOf(String(this.pid), 'Rss'),
      monitorsMb: sum('Rss'),
      monitorsShareMb: sum('Pss'),
      monitors: monitors.length,
    };
  }

  #isMonitor(pid: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`/usr/bin/conmon\0`) && this.#owns(pid);
    } catch {
      return false;
    }
  }
  #owns(pid: string): boolean {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${this.base}/`);
  }

  #spawn(argv: readonly string[]): ChildProcess {
    const [program, ...rest] = [...this.#namespace.enter(), ...argv] as [string, ...string[]];
    return spawn(program, rest, { stdio: ['ignore', 'pipe', 'ignore'] });
  }

  #accepts(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.socket);
      socket.on('connect', () => resolve(true));
      socket.on('connect', () => socket.destroy());
      socket.on('error', () => resolve(false));
    });
  }
}

function memoryOf(pid: string, field: string): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1000;
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { DockerEngine } from './docker-engine.ts';
import type { NetworkNamespace } from './network-namespace.ts';

/** `deckhand cri-docker` over an engine, as its users run it. At the end of its scope it removes everything that it made. */
export class CriDocker implements AsyncDisposable {
  readonly directory: string;
  /** `unix:///…` */
  readonly endpoint: string;
  readonly #argv: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(directory: string, argv: readonly string[]) {
    this.directory = directory;
    this.endpoint = `unix://${join(directory, 'cri.sock')}`;
    this.#argv = argv;
  }

  /** @throws Error with what it said */
  static async start(namespace: NetworkNamespace, engine: DockerEngine, podCidr = '10.95.0.0/24'): Promise<CriDocker> {
    const directory = await mkdtemp(join(tmpdir(), 'dh-cridocker-'));
    const argv = [...namespace.enter(), join(import.meta.dirname, '../../bin/deckhand'), 'cri-docker', '--supervised'];
    argv.push('--listen', `unix://${join(directory, 'cri.sock')}`, '--docker', engine.endpoint);
    argv.push('--root', join(directory, 'root'), '--state', join(directory, 'state'));
    argv.push('--pod-cidr', podCidr, '--bridge-name', 'dhdocker0');
    const adapter = new CriDocker(directory, argv);
    try {
      await adapter.begin();
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
    return adapter;
  }

  /** Starts it, again after kill(). */
  async begin(): Promise<void> {
    const child = launch(this.#argv);
    this.#child = child;
    const said: string[] = [];
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (process.env['DECKHAND_TEST_LOG']) console.error(line);
      if (said.push(line) > 20) said.shift();
    });
    const ready = once(createInterface({ input: child.stdout! }), 'line').then(() => 'ready');
    const ended = once(child, 'close').then(() => 'ended');
    if ((await Promise.race([ready, ended])) === 'ended')
      throw new Error(`cri-docker did not start:\n${said.join('\n')}`);
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const closed = once(this.#child!, 'close');
    this.#child!.kill('SIGKILL');
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const old = this.#child!;
    const child = old.exitCode !== null || old.signalCode !== null ? launch(this.#argv) : old;
    const closed = once(child, 'close');
    for (const stream of [child.stdout!, child.stderr!]) stream.resume();
    child.stdin!.on('error', () => {});
    child.stdin!.write('stop remove\n');
    await closed;
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** In a process group of its own: the keys that end a test at a terminal must not end it before it has cleaned up. */
function launch(argv: readonly string[]): ChildProcess {
  return spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
}

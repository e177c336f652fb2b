import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { RegistryConfig } from '../../src/runtime/images/index.ts';
import type { NetworkNamespace } from './network-namespace.ts';

let count = 0;

/** How a runtime under test is started. */
export interface CriRuntimeOptions {
  mirrors: readonly RegistryConfig[];
  /** More fields of the configuration file. */
  configuration?: Record<string, unknown>;
  podCidr?: string;
  /** Given each line that it logs; otherwise the last lines are kept for the message of a failed start. */
  onLog?: (line: string) => void;
}

/**
 * `deckhand runtime` as its users run it, with a root, a state, a socket and a cgroup parent of its own, inside a network
 * namespace. At the end of its scope it removes everything that it made.
 */
export class CriRuntime implements AsyncDisposable {
  readonly directory: string;
  /** `unix:///…` */
  readonly endpoint: string;
  readonly #argv: readonly string[];
  readonly #child: ChildProcess;

  private constructor(directory: string, argv: readonly string[], child: ChildProcess) {
    this.directory = directory;
    this.endpoint = `unix://${join(directory, 'runtime.sock')}`;
    this.#argv = argv;
    this.#child = child;
  }

  static async start(namespace: NetworkNamespace, options: CriRuntimeOptions): Promise<CriRuntime> {
    const directory = await mkdtemp(join(tmpdir(), 'dh-cri-'));
    // Users of user namespaces have to get through.
    await chmod(directory, 0o711);
    const configuration = {
      registries: options.mirrors,
      cgroupParent: `/dh-cri-${process.pid}-${count++}`,
      bridgeName: 'dhcri0',
      ...options.configuration,
    };
    await writeFile(join(directory, 'runtime.yaml'), JSON.stringify(configuration));
    const argv = [...namespace.enter(), join(import.meta.dirname, '../../bin/deckhand'), 'runtime', '--supervised'];
    argv.push('--listen', `unix://${join(directory, 'runtime.sock')}`, '--config', join(directory, 'runtime.yaml'));
    // One level down: the administration socket lies beside the root.
    argv.push('--root', join(directory, 'data/root'), '--state', join(directory, 'state'));
    argv.push('--pod-cidr', options.podCidr ?? '10.98.0.0/24');
    const child = launch(argv);
    const said: string[] = [];
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (options.onLog) options.onLog(line);
      else if (said.push(line) > 20) said.shift();
    });
    const runtime = new CriRuntime(directory, argv, child);
    const ready = once(createInterface({ input: child.stdout! }), 'line').then(() => 'ready');
    const ended = once(child, 'close').then(() => 'ended');
    if ((await Promise.race([ready, ended])) === 'ended') {
      await rm(directory, { recursive: true, force: true });
      throw new Error(`the runtime did not start:\n${said.join('\n')}`);
    }
    return runtime;
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // One that was killed or has crashed is started once more, to take away what it made.
    const ended = this.#child.exitCode !== null || this.#child.signalCode !== null;
    const child = ended ? launch(this.#argv) : this.#child;
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

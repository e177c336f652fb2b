import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkNamespace } from './network-namespace.ts';

const deckhand = join(import.meta.dirname, '../../bin/deckhand');

/** One program that goes on, with what it says in a file. */
export interface Daemon {
  name: string;
  child: ChildProcess;
  /** Everything that it has said. */
  said(): string;
  /** Ends it with a signal and waits for its end. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

/** Programs of a test inside its network namespace; the last one that was started ends first. */
export class Daemons implements AsyncDisposable {
  readonly #namespace: NetworkNamespace;
  readonly #directory: string;
  readonly #running: Daemon[] = [];
  #count = 0;

  constructor(namespace: NetworkNamespace, directory: string) {
    this.#namespace = namespace;
    this.#directory = directory;
  }

  start(name: string, argv: readonly string[], environment: Record<string, string> = {}): Daemon {
    const path = join(this.#directory, `${name}-${this.#count++}.log`);
    const log = openSync(path, 'w');
    const [program, ...rest] = [...this.#namespace.enter(), ...argv];
    const child = spawn(program!, rest, { stdio: ['pipe', log, log], env: { ...process.env, ...environment } });
    closeSync(log);
    const daemon: Daemon = {
      name,
      child,
      said: () => readFileSync(path, 'utf8'),
      end: async (signal = 'SIGTERM') => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        child.kill(signal);
        await ended;
      },
    };
    this.#running.push(daemon);
    return daemon;
  }

  /** One of our components. */
  component(name: string, argv: readonly string[]): Daemon {
    return this.start(name, [deckhand, name, '--supervised', ...argv]);
  }

  /** Tells one of our components to take away what it made, and waits for its end. */
  async remove(daemon: Daemon): Promise<void> {
    if (daemon.child.exitCode !== null || daemon.child.signalCode !== null) return;
    const ended = once(daemon.child, 'exit');
    daemon.child.stdin!.write('stop remove\n');
    await ended;
  }

  /** The ends of all logs, for failures. */
  tails(): string {
    return this.#running.map(({ name, said }) => `--- ${name}\n${said().split('\n').slice(-25).join('\n')}`).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#running.toReversed()) await daemon.end('SIGKILL');
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CriRuntime } from './cri-runtime.ts';
import type { NetworkNamespace } from './network-namespace.ts';
import { type Result, type RunOptions, run } from './processes.ts';

/** The crictl of this machine: what CRICTL names, else the one in PATH; undefined when there is none. */
export function findCrictl(): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(':');
  const candidates = process.env['CRICTL'] ? [process.env['CRICTL']] : directories.map((one) => join(one, 'crictl'));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** crictl with a runtime under test, used as people do. */
export class Crictl {
  readonly #argv: string[];

  constructor(program: string, namespace: NetworkNamespace, runtime: CriRuntime) {
    const configuration = join(runtime.directory, 'crictl.yaml');
    writeFileSync(configuration, JSON.stringify({ 'runtime-endpoint': runtime.endpoint }));
    this.#argv = [...namespace.enter(), program, '--config', configuration];
  }

  /** The whole command line of a call. */
  command(...argv: string[]): string[] {
    return [...this.#argv, ...argv];
  }

  /** Runs a verb to its end, whatever its status. It knows no end of its own where something hangs, so it is killed then. */
  try(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run(this.command(...argv), { timeoutMs: 30_000, ...options });
  }

  /** Runs a verb and gives its output. @throws Error with what it said when its status is not 0 */
  async do(...argv: string[]): Promise<string> {
    const result = await this.try(argv);
    if (result.status !== 0) throw new Error(`crictl ${argv.join(' ')}: status ${result.status}\n${result.stderr}`);
    return result.stdout;
  }

  /** Runs a verb and reads its output as JSON. */
  async json(...argv: string[]): Promise<any> {
    return JSON.parse(await this.do(...argv));
  }

  /** Runs a verb with a terminal: each line of input is typed when what came since the one before matches its pattern. */
  terminal(
    argv: readonly string[],
    dialogue: readonly (readonly [RegExp, string])[],
    timeoutMs = 20_000,
  ): Promise<string> {
    const quoted = this.command(...argv)
      .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
      .join(' ');
    // `script` makes the terminal; its own standard input may be a pipe.
    const child = spawn('script', ['-qec', `stty rows 33 cols 99; exec ${quoted}`, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    const left = [...dialogue];
    let said = '';
    let seen = 0;
    child.stdin.on('error', () => {});
    const hear = (text: string): void => {
      said += text;
      while (left[0]?.[0].test(said.slice(seen))) {
        seen = said.length;
        child.stdin.write(left.shift()![1]);
      }
    };
    child.stdout.setEncoding('utf8').on('data', hear);
    hear('');
    return new Promise((resolve) => {
      const timer = setTimeout(() => killGroup(child), timeoutMs);
      child.on('close', () => {
        clearTimeout(timer);
        resolve(said);
      });
    });
  }

  /** Starts a verb that goes on; what it has said so far is in `said`. */
  start(...argv: string[]): { child: ChildProcess; said: () => string; stop: () => Promise<void> } {
    const [program, ...rest] = this.command(...argv);
    const child = spawn(program!, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    const closed = new Promise<void>((resolve) => child.on('close', () => resolve()));
    return {
      child,
      said: () => said,
      stop: () => {
        child.kill('SIGKILL');
        return closed;
      },
    };
  }
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

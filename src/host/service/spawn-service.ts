import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A long-running child process that ends when its standard input does. */
export interface ServiceProcess {
  pid: number;
  /** Resolves with why it ended: `exited with status 1`, `killed by SIGKILL`. Never rejects. */
  ended: Promise<string>;
  /** Writes to its standard input; lost when it has ended. */
  write(text: string): void;
}

/** How a service is started. */
export interface SpawnServiceOptions {
  /** Called for each line of its output and errors. */
  onLine: (line: string) => void;
  environment?: Record<string, string | undefined>;
  cwd?: string;
}

/**
 * Starts a program in a process group of its own, so that a Ctrl-C at the terminal reaches only its parent, which
 * then ends it in order.
 */
export function spawnService(program: string, argv: readonly string[], options: SpawnServiceOptions): ServiceProcess {
  const child = spawn(program, argv, {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    ...(options.cwd ? { cwd: options.cwd } : {}),
    env: { ...process.env, ...options.environment },
  });
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', options.onLine);
  child.stdin.on('error', () => {});
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(`cannot run ${program}: ${error.message}`));
    child.on('close', (code, signal) => resolve(signal ? `killed by ${signal}` : `exited with status ${code}`));
  });
  return { pid: child.pid ?? 0, ended, write: (text) => void child.stdin.write(text) };
}

/** Starts a program that goes on without this process; its output goes to a file descriptor. Returns its pid. */
export function spawnDetached(program: string, argv: readonly string[], outputFd: number): number {
  const child = spawn(program, argv, { stdio: ['ignore', outputFd, outputFd], detached: true });
  child.on('error', () => {});
  child.unref();
  return child.pid ?? 0;
}

/** Runs a program to its end with its output shown (or dropped when `silent`); gives its exit status. */
export function runVisible(
  program: string,
  argv: readonly string[],
  environment: Record<string, string>,
  silent: boolean,
): Promise<number> {
  return new Promise((resolve) => {
    const output = silent ? 'ignore' : 'inherit';
    const child = spawn(program, argv, { stdio: ['ignore', output, output], env: { ...process.env, ...environment } });
    child.on('error', () => resolve(127));
    child.on('close', (code) => resolve(code ?? 1));
  });
}

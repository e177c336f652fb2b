import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import type { Duplex, Readable, Writable } from 'node:stream';

/** How a program is launched. */
export interface LaunchOptions {
  /**
   * What each descriptor is: `ignore`, `pipe`, or a descriptor of ours.
   * Default: nothing but a pipe for errors.
   */
  stdio?: StdioOptions;
  environment?: Record<string, string | undefined>;
  cwd?: string;
  /** In a session of its own: it goes on when this process ends. */
  detached?: boolean;
}

/** A program that runs. */
export interface LaunchedProgram {
  pid: number;
  stdin: Writable | null;
  stdout: Readable | null;
  stderr: Readable | null;
  /** The pipe of a descriptor beyond 2. */
  pipe(descriptor: number): Duplex;
  /** Resolves when it has ended; its output may still have to be read. */
  exited: Promise<void>;
  /** Resolves with its status (128 + signal number, and the signal) when it has ended and its output is read; never rejects. */
  ended: Promise<{ status: number; error?: Error; signal?: NodeJS.Signals }>;
  kill(signal: NodeJS.Signals): void;
  /** Lets this process end while the program runs. */
  unref(): void;
}

/** Starts a program and gives its pipes. A program that is not there shows in `ended`. */
export function launchProgram(argv: readonly string[], options: LaunchOptions = {}): LaunchedProgram {
  const [program, ...rest] = argv as [string, ...string[]];
  const child: ChildProcess = spawn(program, rest, {
    stdio: options.stdio ?? ['ignore', 'ignore', 'pipe'],
    env: options.environment ? { ...process.env, ...options.environment } : process.env,
    detached: options.detached ?? false,
    ...(options.cwd ? { cwd: options.cwd } : {}),
  });
  const ended: LaunchedProgram['ended'] = new Promise((resolve) => {
    child.on('error', (error) => resolve({ status: 127, error }));
    child.on('close', (code, signal) =>
      resolve({ status: code ?? (signal === 'SIGKILL' ? 137 : 143), ...(signal ? { signal } : {}) }),
    );
  });
  const exited = new Promise<void>((resolve) => {
    child.on('error', () => resolve());
    child.on('exit', () => resolve());
  });
  for (const stream of child.stdio) stream?.on('error', () => {});
  return {
    pid: child.pid ?? 0,
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    pipe: (descriptor) => child.stdio[descriptor] as Duplex,
    exited,
    ended,
    kill: (signal) => void child.kill(signal),
    unref: () => child.unref(),
  };
}

import { spawn } from 'node:child_process';
import type { Clock } from '../../async/index.ts';

/** How a program is run to its end. */
export interface ProgramOptions {
  /** Given on standard input. */
  input?: string | Buffer;
  /** Killed after this long, milliseconds; needs `clock`. */
  timeoutMs?: number;
  clock?: Clock;
  signal?: AbortSignal;
  environment?: Record<string, string | undefined>;
  cwd?: string;
  /** Killed together with all programs that it has started (it gets a process group of its own). */
  group?: boolean;
  /** Output beyond this is read and dropped, per stream. Default 16 MiB. */
  maximumOutputBytes?: number;
  /** Told of the process as soon as it runs. */
  onStart?: (pid: number) => void;
  /** Called instead of killing the process when time is up or the signal aborts. */
  onAbort?: (pid: number) => void;
}

/** How a program ended. */
export interface ProgramResult {
  /** The exit status; 128 + signal number when a signal ended it. */
  status: number;
  /** The signal that ended it. */
  signal?: NodeJS.Signals;
  /** Whether its time was up. */
  timedOut: boolean;
  stdout: Buffer;
  stderr: Buffer;
  /** Whether output was dropped for being too much. */
  truncated: boolean;
}

/** A program that could not be run, or whose status was not 0. */
export class ProgramError extends Error {
  readonly code: string;
  readonly status: number | undefined;
  constructor(code: string, message: string, options?: ErrorOptions & { status?: number }) {
    super(message, options);
    this.code = code;
    this.status = options?.status;
  }
}

const signalNumbers: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

/** Runs a program to its end and gives its output. A status other than 0 is no error. @throws ProgramError when it cannot be run */
export function runProgram(argv: readonly string[], options: ProgramOptions = {}): Promise<ProgramResult> {
  const [program, ...rest] = argv as [string, ...string[]];
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: options.environment ? { ...process.env, ...options.environment } : process.env,
      ...(options.cwd ? { cwd: options.cwd } : {}),
      detached: options.group ?? false,
    });
    let timedOut = false;
    const stop = (): void => {
      if (options.onAbort && child.pid) options.onAbort(child.pid);
      else if (options.group && child.pid) killGroup(child.pid);
      else child.kill('SIGKILL');
    };
    const timer =
      options.timeoutMs && options.clock
        ? options.clock.after(options.timeoutMs, () => {
            timedOut = true;
            stop();
          })
        : undefined;
    if (options.signal?.aborted) stop();
    options.signal?.addEventListener('abort', stop, { once: true });
    const maximum = options.maximumOutputBytes ?? 16 * 1024 * 1024;
    const stdout = collect(child.stdout!, maximum);
    const stderr = collect(child.stderr!, maximum);
    child.stdin?.on('error', () => {});
    if (options.input !== undefined) child.stdin?.end(options.input);
    if (child.pid) options.onStart?.(child.pid);
    const settle = (): void => {
      timer?.cancel();
      options.signal?.removeEventListener('abort', stop);
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      settle();
      reject(new ProgramError(cause.code ?? 'EIO', `cannot run ${program}: ${cause.message}`, { cause }));
    });
    child.on('close', (code, signal) => {
      settle();
      const status = code ?? 128 + (signalNumbers[signal ?? ''] ?? 0);
      const [output, errors] = [stdout(), stderr()];
      const truncated = output.truncated || errors.truncated;
      resolve({
        status,
        ...(signal ? { signal } : {}),
        timedOut,
        stdout: output.bytes,
        stderr: errors.bytes,
        truncated,
      });
    });
  });
}

function collect(stream: NodeJS.ReadableStream, maximum: number): () => { bytes: Buffer; truncated: boolean } {
  const parts: Buffer[] = [];
  let size = 0;
  stream.on('data', (part: Buffer) => {
    if (size < maximum) parts.push(part.subarray(0, maximum - size));
    size += part.length;
  });
  stream.on('error', () => {});
  return () => ({ bytes: Buffer.concat(parts), truncated: size > maximum });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of them have ended.
  }
}

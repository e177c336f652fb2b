import { type ChildProcess, spawn } from 'node:child_process';

/** How a command ended. */
export interface Result {
  status: number;
  stdout: string;
  stderr: string;
}

/** What a command may be given. */
export interface RunOptions {
  input?: string;
  environment?: Record<string, string>;
  /** Killed after this long, milliseconds. Default 60,000. */
  timeoutMs?: number;
  cwd?: string;
}

/** Runs a command to its end. Does not throw for a non-zero status. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const [program, ...rest] = argv as [string, ...string[]];
    const child = spawn(program, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.environment },
      ...(options.cwd ? { cwd: options.cwd } : {}),
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ status: code ?? (signal ? 137 : 1), stdout, stderr }));
  });
}

/** Runs a command and gives its output. @throws Error with the command and what it said when the status is not 0 */
export async function output(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.status !== 0) {
    throw new Error(`${argv.join(' ')}: status ${result.status}\n${result.stderr}${result.stdout}`);
  }
  return result.stdout;
}

/** Starts a command that goes on; end it with kill(). */
export function start(argv: readonly string[], environment: Record<string, string> = {}): ChildProcess {
  const [program, ...rest] = argv as [string, ...string[]];
  return spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
}

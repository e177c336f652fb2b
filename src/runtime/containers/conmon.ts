import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../async/index.ts';
import { launchProgram } from '../../host/exec/index.ts';
import { RuntimeError } from '../errors.ts';

/** What conmon is told of a container. */
export interface ConmonOptions {
  conmonPath: string;
  ociRuntimePath: string;
  ociRoot: string;
  id: string;
  name: string;
  bundle: string;
  exits: string;
  /** Absolute; empty for no log. */
  logPath: string;
  terminal: boolean;
  stdin: boolean;
  stdinOnce: boolean;
  clock: Clock;
  /** How long the OCI runtime may take to create the container, milliseconds. */
  timeoutMs: number;
}

/** Names of conmon's files in the bundle. */
export const conmonFiles = {
  control: 'ctl',
  attach: 'attach',
  oom: 'oom',
  pid: 'conmon.pid',
  containerPid: 'pid',
} as const;

/**
 * Has conmon create a container (not start it) and watch over it. From here on the container does not need us: conmon
 * keeps its log, terminal and exit code. Gives the pid of the container's first process.
 * @throws RuntimeError with what the OCI runtime said
 */
export async function createWithConmon(options: ConmonOptions): Promise<number> {
  const { bundle } = options;
  const errors = await open(join(bundle, 'conmon.log'), 'a');
  try {
    const program = launchProgram(conmonArguments(options), {
      stdio: ['ignore', 'ignore', errors.fd, 'pipe'],
      environment: { _OCI_SYNCPIPE: '3' },
      cwd: bundle,
    });
    const message = readReport(program.pipe(3));
    let isLate = false;
    const timer = options.clock.after(options.timeoutMs, () => {
      isLate = true;
      program.kill('SIGKILL');
      program.pipe(3).destroy();
    });
    const { status, error } = await program.ended;
    if (error) throw new RuntimeError('UNKNOWN', `cannot run conmon: ${error.message}`, { cause: error });
    const report = await message;
    timer.cancel();
    if (isLate)
      throw new RuntimeError(
        'DEADLINE_EXCEEDED',
        `${options.ociRuntimePath} did not create the container within ${options.timeoutMs / 1000} s`,
      );
    if (!report) throw new RuntimeError('UNKNOWN', `conmon ended with status ${status} and no report`);
    if (!(report.pid > 0)) throw new RuntimeError('UNKNOWN', describeOciFailure(report.message ?? ''));
    return report.pid;
  } finally {
    await errors.close();
  }
}

function conmonArguments(options: ConmonOptions): string[] {
  const { bundle, id } = options;
  return [
    options.conmonPath,
    ...['--cid', id, '--cuuid', id, '--name', options.name],
    ...['--runtime', options.ociRuntimePath, '--runtime-arg', `--root=${options.ociRoot}`],
    ...['--bundle', bundle, '--container-pidfile', join(bundle, conmonFiles.containerPid)],
    ...['--conmon-pidfile', join(bundle, conmonFiles.pid)],
    ...['--log-path', options.logPath ? `k8s-file:${options.logPath}` : 'none', '--no-sync-log'],
    ...['--exit-dir', options.exits, '--socket-dir-path', dirname(bundle), '--full-attach'],
    ...['--log-level', 'warn'],
    ...(options.terminal ? ['--terminal'] : []),
    ...(options.stdin ? ['--stdin'] : []),
    ...(options.stdin && !options.stdinOnce ? ['--leave-stdin-open'] : []),
  ];
}

interface Report {
  pid: number;
  message?: string;
}

/** Reads conmon's first line from the pipe. */
function readReport(pipe: Duplex): Promise<Report | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const finish = (): void => {
      const [line = ''] = text.split('\n');
      try {
        resolve(line === '' ? undefined : (JSON.parse(line) as Report));
      } catch {
        resolve(undefined);
      }
      pipe.destroy();
    };
    pipe.setEncoding('utf8');
    pipe.on('data', (part: string) => {
      text += part;
      if (text.includes('\n')) finish();
    });
    pipe.on('close', finish);
    pipe.on('error', () => {});
  });
}

/** Turns the log lines of an OCI runtime into the sentence that users of Kubernetes know. */
export function describeOciFailure(output: string): string {
  const messages = output
    .split('\n')
    .map((line) => /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replace(/\\(["\\])/g, '$1') ?? line.trim())
    .filter((line) => line !== '');
  const text = messages.at(-1) ?? 'no reason given';
  return `failed to create containerd task: OCI runtime create failed: ${text}: unknown`;
}

/** Tells conmon to open the log anew, or to resize the terminal. */
export async function sendControl(bundle: string, line: string): Promise<void> {
  const pipe = await open(join(bundle, conmonFiles.control), constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    await pipe.write(`${line}\n`);
  } finally {
    await pipe.close();
  }
}

/** The control line that opens the log anew. */
export const reopenLine = '2 0 0';

/** The control line for a terminal size; conmon takes values up to 1000. */
export const resizeLine = (rows: number, columns: number): string =>
  `1 ${Math.min(1000, Math.max(0, rows))} ${Math.min(1000, Math.max(0, columns))}`;

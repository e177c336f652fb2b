import { readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { launchProgram } from '../../host/exec/index.ts';
import { connectPacketSocket, type DescriptorStream } from '../../host/sockets/index.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError } from '../errors.ts';
import { conmonFiles, resizeLine, sendControl } from './conmon.ts';
import type { PreparedExec, RuntimeProcess } from './exec.ts';

/** A command that runs on a terminal of its own. */
export interface TerminalExec extends AsyncDisposable {
  /** The monitor that holds the terminal. */
  monitor: RuntimeProcess;
  /** Packets as from every monitor: what kind, then the bytes. Takes input in packets of at most 32 KiB. */
  stream: DescriptorStream;
  resize(rows: number, columns: number): Promise<void>;
  /** Its exit code; or what the OCI runtime says when it could not be started; nothing when the monitor was killed. */
  ended: Promise<{ code: number } | { failure: string } | undefined>;
}

/**
 * Runs a command on a terminal, with conmon holding the terminal. The OCI runtime could hold it itself, but then passes all
 * on to a terminal of ours and changes both: line ends come doubled when it is late to do so, and programs that draw on the
 * whole screen are told of a terminal that is not the one they have.
 */
export async function startOnTerminal(
  context: RuntimeContext,
  exec: PreparedExec,
  options: { stdin: boolean },
): Promise<TerminalExec> {
  const { name, containerId } = exec.parts;
  const directory = join(context.paths.bundle(containerId), `${name}.d`);
  await mkdir(directory, { mode: 0o700 });
  const program = launchProgram(conmonArguments(context, exec, directory, options), {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    environment: { _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4', _OCI_ATTACHPIPE: '5' },
    cwd: directory,
  });
  let over = false;
  const reports = readReports(program.pipe(3));
  const ended = reports.last.finally(() => {
    over = true;
  });
  try {
    const start = program.pipe(4) as Writable;
    start.write('\0');
    if (!(await firstByte(program.pipe(5)))) {
      const { error } = await program.ended;
      throw new RuntimeError('UNKNOWN', `cannot run conmon: ${error?.message ?? 'it has ended'}`);
    }
    const stream = await connectPacketSocket(join(directory, conmonFiles.attach), { clock: context.clock });
    // From here on the command runs, and not a byte of it is missed.
    start.write('\0');
    return {
      monitor: { pid: monitorPid(directory), ended: () => over },
      stream,
      resize: (rows, columns) => sendControl(directory, resizeLine(rows, columns)),
      ended,
      [Symbol.asyncDispose]: async () => {
        stream.destroy();
        for (const fd of [3, 4, 5]) program.pipe(fd).destroy();
        await rm(directory, { recursive: true, force: true });
      },
    };
  } catch (cause) {
    for (const fd of [3, 4, 5]) program.pipe(fd).destroy();
    await rm(directory, { recursive: true, force: true });
    throw cause;
  }
}

function conmonArguments(
  context: RuntimeContext,
  { parts }: PreparedExec,
  directory: string,
  options: { stdin: boolean },
): string[] {
  return [
    context.settings.conmonPath,
    ...['--api-version', '1', '--exec', '--exec-attach', '--exec-process-spec', parts.processFile],
    ...['--cid', parts.containerId, '--cuuid', parts.name, '--name', parts.name],
    ...['--runtime', parts.ociRuntimePath, '--runtime-arg', `--root=${context.paths.ociRoot}`],
    ...parts.options.flatMap((option) => ['--runtime-opt', option]),
    ...['--bundle', directory, '--container-pidfile', parts.pidFile],
    ...['--conmon-pidfile', join(directory, conmonFiles.pid)],
    ...['--log-path', 'none', '--socket-dir-path', directory, '--full-attach', '--log-level', 'warn', '--terminal'],
    ...(options.stdin ? ['--stdin', '--leave-stdin-open'] : []),
  ];
}

function monitorPid(directory: string): number {
  try {
    return Number(readFileSync(join(directory, conmonFiles.pid), 'utf8')) || 0;
  } catch {
    return 0;
  }
}

/** conmon says the pid of the command, or why there is none, and in the end its exit code. */
function readReports(pipe: NodeJS.ReadableStream): { last: TerminalExec['ended'] } {
  const last = new Promise<{ code: number } | { failure: string } | undefined>((resolve) => {
    let started = false;
    const lines = createInterface({ input: pipe });
    lines.on('line', (line) => {
      const { data = -1, message = '' } = parse(line);
      if (started) resolve({ code: data < 0 ? 255 : data });
      else if (data > 0) started = true;
      else resolve({ failure: message });
    });
    lines.on('close', () => resolve(undefined));
  });
  return { last };
}

function parse(line: string): { data?: number; message?: string } {
  try {
    return JSON.parse(line) as { data?: number; message?: string };
  } catch {
    return {};
  }
}

function firstByte(pipe: NodeJS.ReadableStream): Promise<boolean> {
  return new Promise((resolve) => {
    pipe.once('data', () => resolve(true));
    pipe.once('close', () => resolve(false));
  });
}

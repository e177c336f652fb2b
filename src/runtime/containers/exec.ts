import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, faultPoint } from '../../async/index.ts';
import { createSubCgroup, findSubCgroups } from '../../host/cgroups/index.ts';
import { killTree } from '../../host/exec/index.ts';
import type { TerminalSize } from '../../wire/streams/index.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import { invalid, notFound, notInState, RuntimeError, unlessMissing } from '../errors.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import type { OciSpec } from './spec/oci-spec.ts';

/** A command that is about to be run in a container. Disposing it removes its files and its group. */
export interface PreparedExec extends AsyncDisposable {
  /** Command line of the OCI runtime; the command's input and output are its own. */
  argv: string[];
  /** What a monitor has to know that is to run the command instead. */
  parts: ExecParts;
  /** Whether the command has been started: before that, what is heard comes from the OCI runtime. */
  started(): boolean;
  /** Ends the command with all that it started, at whatever step it is. Disposing waits for that. */
  kill(runtime: RuntimeProcess): Promise<void>;
}

/** The OCI runtime's process that starts a command and waits for it. */
export interface RuntimeProcess {
  pid: number;
  ended: () => boolean;
}

/** A prepared command, in parts. */
export interface ExecParts {
  /** Names it in the bundle; files that begin with it are removed with it. */
  name: string;
  containerId: string;
  ociRuntimePath: string;
  processFile: string;
  pidFile: string;
  /** More options for the OCI runtime's `exec`. */
  options: readonly string[];
}

/** What is to be run. */
export interface ExecOptions {
  command: readonly string[];
  terminal: boolean;
  /** The first size of the terminal, when it is known. */
  size?: TerminalSize | undefined;
}

/** Of files and groups; no container names a cgroup of its own like that. */
const prefix = 'deckhand-exec-';

/** How long the OCI runtime has to end after its command was killed, milliseconds. */
const graceMs = 2_000;

/**
 * Prepares a command with the container's own user, environment and limits.
 *
 * Its processes are put into a group (a cgroup without limits inside of the container's) by which they are found when
 * they have to end: children may leave their session and their parent, but not their cgroup. When the command ends by
 * itself, what it has left running goes on as part of the container, as with every runtime.
 * @throws RuntimeError
 */
export async function prepareExec(
  context: RuntimeContext,
  record: ContainerRecord,
  options: ExecOptions,
): Promise<PreparedExec> {
  if (options.command.length === 0) throw invalid('no command is given');
  requireRunning(record);
  const runtime = ociRuntimeOf(context, record.runtimeHandler);
  if (!runtime) throw notFound('runtime handler', record.runtimeHandler);
  context.cgroups.expectAttach();
  const { clock } = context;
  const bundle = context.paths.bundle(record.id);
  const spec = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as OciSpec;
  const name = `${prefix}${randomBytes(6).toString('hex')}`;
  const [processFile, pidFile] = [join(bundle, `${name}.json`), join(bundle, `${name}.pid`)];
  const canGroup = await runtime.canGroupExecs(context.cgroups.version);
  const group = canGroup ? createSubCgroup(context.cgroups, record.cgroupPath, name) : undefined;
  try {
    await writeFile(processFile, JSON.stringify(processOf(spec, options)));
    await faultPoint('exec:prepared');
  } catch (cause) {
    await group?.release({ clock });
    await rm(processFile, { force: true });
    throw cause;
  }
  const killOnce = async (): Promise<void> => {
    if (group) return void (await group.kill({ clock }));
    const pid = Number(await unlessMissing(readFile(pidFile, 'utf8')));
    if (pid > 0) killTree(pid);
  };
  let killing: Promise<void> | undefined;
  const runtimeOptions = group ? ['--cgroup', group.argument] : [];
  return {
    argv: runtime.execArguments(record.id, processFile, ['--pid-file', pidFile, ...runtimeOptions]),
    parts: {
      name,
      containerId: record.id,
      ociRuntimePath: runtime.path,
      processFile,
      pidFile,
      options: runtimeOptions,
    },
    started: () => existsSync(pidFile),
    kill: (process) => {
      killing ??= endCommand(context.clock, process, killOnce);
      return killing;
    },
    [Symbol.asyncDispose]: async () => {
      if (killing) {
        await killing.catch(() => {});
        // Nobody puts a process into the group any more.
        await killOnce();
      }
      await group?.release({ clock });
      await Promise.all([rm(processFile, { force: true }), rm(pidFile, { force: true })]);
    },
  };
}

/**
 * Kills a command until the OCI runtime's process has ended too. That ends by itself with its command; killed at once it
 * could not wait for it, and the command would stay as a zombie until somebody else does.
 */
async function endCommand(clock: Clock, runtime: RuntimeProcess, killOnce: () => Promise<void>): Promise<void> {
  const end = clock.monotonic() + graceMs;
  for (let wait = 1; !runtime.ended(); wait = Math.min(wait * 2, 50)) {
    await killOnce();
    if (runtime.ended()) return;
    if (clock.monotonic() >= end) return runtime.pid > 0 ? killTree(runtime.pid) : undefined;
    await clock.sleep(wait);
  }
}

/** @throws RuntimeError when the container does not run */
export function requireRunning(record: ContainerRecord): void {
  if (record.phase.name === 'running') return;
  const state = record.phase.name === 'exited' ? 'CONTAINER_EXITED' : 'CONTAINER_CREATED';
  throw notInState(`failed to exec in container: container "${record.id}" is in ${state} state`);
}

function processOf(spec: OciSpec, options: ExecOptions): OciSpec['process'] {
  const { command, terminal, size } = options;
  const process = { ...spec.process, args: [...command], terminal };
  if (!terminal) return process;
  process.env = [...process.env.filter((entry) => !entry.startsWith('TERM=')), 'TERM=xterm'];
  return size ? { ...process, consoleSize: size } : process;
}

/**
 * Ends commands that a former run of this process had started and could not see through: whoever asked for them was cut
 * off then. Commands that were over leave nothing to find; what they had left running is the container's own.
 */
export async function endAbandonedExecs(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  const { clock } = context;
  for (const group of findSubCgroups(context.cgroups, record.cgroupPath, prefix)) {
    if (!(await group.kill({ clock })))
      context.log.warn('a command of a former run does not die of SIGKILL', { id: record.id });
    await group.release({ clock });
  }
  const bundle = context.paths.bundle(record.id);
  // Done for every container at the start of the runtime: reading at once is several times cheaper than waiting for it.
  for (const file of existsSync(bundle) ? readdirSync(bundle) : [])
    if (file.startsWith(prefix)) await rm(join(bundle, file), { recursive: true, force: true });
}

/** Somebody (the kernel, for want of memory) has killed the OCI runtime's process, and how the command ends is not seen. */
export function runtimeKilled(signal: string): RuntimeError {
  return new RuntimeError('UNKNOWN', `failed to exec in container: the OCI runtime's process was ended by ${signal}`);
}

/** What an OCI runtime says when it could not start a command. */
export function execFailure(stderr: string): RuntimeError {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const logged = lines.map((line) => /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replace(/\\(["\\])/g, '$1'));
  const text = (logged.findLast((line) => line !== undefined) ?? lines.at(-1) ?? 'no reason given').trim();
  return new RuntimeError('UNKNOWN', `failed to exec in container: OCI runtime exec failed: ${text}: unknown`);
}

/**
 * The exit code that shells give a command which could not be run: 127 when it is not there, 126 when it is and cannot be
 * executed. Undefined for failures that have nothing to do with the command.
 */
export function shellCodeOf(failure: string): 126 | 127 | undefined {
  if (/executable file .*not found in \$PATH|exec: "[^"]*": stat .*: no such file or directory/.test(failure))
    return 127;
  if (/exec: "[^"]*": (?:permission denied|is a directory)|exec format error/.test(failure)) return 126;
  return undefined;
}

import { randomBytes } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { faultPoint } from '../../async/index.ts';
import { killTree } from '../../host/exec/index.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import { invalid, notFound, notInState, RuntimeError, unlessMissing } from '../errors.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import type { OciSpec } from './spec/oci-spec.ts';

/** A command that is about to be run in a container. */
export interface PreparedExec extends AsyncDisposable {
  /** Command line of the OCI runtime; the command's input and output are its own. */
  argv: string[];
  /** The pid of the command on the host; undefined when it has not started (or could not be). */
  pid(): Promise<number | undefined>;
  /** Ends the command with all that it started. */
  kill(): Promise<void>;
}

/** Prepares a command with the container's own user, environment and limits. @throws RuntimeError */
export async function prepareExec(
  context: RuntimeContext,
  record: ContainerRecord,
  options: { command: readonly string[]; terminal: boolean },
): Promise<PreparedExec> {
  if (options.command.length === 0) throw invalid('no command is given');
  if (record.phase.name !== 'running') {
    const state = record.phase.name === 'exited' ? 'CONTAINER_EXITED' : 'CONTAINER_CREATED';
    throw notInState(`failed to exec in container: container "${record.id}" is in ${state} state`);
  }
  const runtime = ociRuntimeOf(context, record.runtimeHandler);
  if (!runtime) throw notFound('runtime handler', record.runtimeHandler);
  context.cgroups.expectAttach();
  const bundle = context.paths.bundle(record.id);
  const spec = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as OciSpec;
  const base = join(bundle, `exec-${randomBytes(6).toString('hex')}`);
  const [processFile, pidFile] = [`${base}.json`, `${base}.pid`];
  const { command, terminal } = options;
  const process = { ...spec.process, args: command, terminal };
  if (terminal) process.env = [...process.env.filter((entry) => !entry.startsWith('TERM=')), 'TERM=xterm'];
  await writeFile(processFile, JSON.stringify(process));
  await faultPoint('exec:prepared');
  const pid = async (): Promise<number | undefined> =>
    Number(await unlessMissing(readFile(pidFile, 'utf8'))) || undefined;
  return {
    argv: runtime.execArguments(record.id, processFile, ['--pid-file', pidFile]),
    pid,
    kill: async () => {
      const running = await pid();
      if (running) killTree(running);
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([rm(processFile, { force: true }), rm(pidFile, { force: true })]);
    },
  };
}

/** What an OCI runtime says when it could not start a command. */
export function execFailure(stderr: string): RuntimeError {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const logged = lines.map((line) => /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replace(/\\(["\\])/g, '$1'));
  const text = logged.findLast((line) => line !== undefined) ?? lines.at(-1) ?? 'no reason given';
  return new RuntimeError('UNKNOWN', `failed to exec in container: OCI runtime exec failed: ${text}: unknown`);
}

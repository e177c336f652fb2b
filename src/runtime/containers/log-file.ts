import { lstat, mkdir, open, readdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { faultPoint, pollUntil } from '../../async/index.ts';
import type { RuntimeContext } from '../context.ts';
import { codeOf, RuntimeError, unlessMissing } from '../errors.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { conmonFiles, reopenLine, sendControl } from './conmon.ts';

/** In the bundle: leads to the log's directory where conmon cannot be told its name. */
const directoryLink = 'logs';

/** How long conmon has to open a new log, milliseconds. */
const reopenMs = 10_000;

/**
 * Makes the directory of a container's log. Gives the path by which conmon opens the log: conmon takes a colon for the
 * end of the path, so a directory with one in its name is reached by a link. Empty for a container without a log.
 */
export async function prepareLog(bundle: string, logPath: string): Promise<string> {
  if (logPath === '') return '';
  const directory = dirname(logPath);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  if (!directory.includes(':')) return logPath;
  const link = join(bundle, directoryLink);
  await rm(link, { force: true });
  await symlink(directory, link);
  return join(link, basename(logPath));
}

/**
 * Has a container's log written to a new file, after the old one was moved away. Where the file at the path is the one
 * that is being written, nothing is to be done: conmon would replace it, with all that is in it.
 *
 * conmon ends when it cannot open the new file, and its container would lose its output; so the file is made here first,
 * and conmon finds it.
 * @throws RuntimeError saying what is in the way; the log then goes on as it was
 */
export async function reopenLog(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  const { logPath } = record;
  const bundle = context.paths.bundle(record.id);
  const monitor = await monitorOf(bundle, record.id);
  if (await isWritten(monitor, logPath)) return;
  await mkdir(dirname(logPath), { recursive: true, mode: 0o755 });
  const next = `${logPath}.tmp`;
  if ((await unlessMissing(lstat(next)))?.isFile() === false)
    throw new RuntimeError('UNKNOWN', `${next} is in the way of the new log: it is no file`);
  await (await open(next, 'a', 0o600)).close();
  await faultPoint('reopen-log:begin');
  await sendControl(bundle, reopenLine).catch(async (cause: unknown) => {
    await rm(next, { force: true });
    throw codeOf(cause) === 'ENXIO' ? monitorGone(record.id) : cause;
  });
  await faultPoint('reopen-log:asked');
  const options = { timeoutMs: reopenMs, intervalMs: 2, clock: context.clock };
  const reopened = async (): Promise<boolean> => {
    if (await isWritten(monitor, logPath)) return true;
    await monitorOf(bundle, record.id);
    return false;
  };
  await pollUntil('the new log', reopened, options);
}

/** The pid of a container's monitor. @throws RuntimeError when it does not run */
async function monitorOf(bundle: string, id: string): Promise<number> {
  const pid = Number(await unlessMissing(readFile(join(bundle, conmonFiles.pid), 'utf8')));
  const commandLine = pid > 0 ? await unlessMissing(readFile(`/proc/${pid}/cmdline`, 'utf8')) : undefined;
  if (!commandLine?.includes(id)) throw monitorGone(id);
  return pid;
}

const monitorGone = (id: string): RuntimeError =>
  new RuntimeError('UNKNOWN', `the monitor of container "${id}" has ended, nobody writes its log any more`);

/** Whether a process has the file at a path open. */
async function isWritten(pid: number, path: string): Promise<boolean> {
  const wanted = await unlessMissing(stat(path));
  if (!wanted) return false;
  const directory = `/proc/${pid}/fd`;
  for (const fd of (await unlessMissing(readdir(directory))) ?? []) {
    const found = await stat(join(directory, fd)).catch(() => undefined);
    if (found && found.ino === wanted.ino && found.dev === wanted.dev) return true;
  }
  return false;
}

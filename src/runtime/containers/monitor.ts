import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pollUntil } from '../../async/index.ts';
import {
  descendants,
  identifyProcess,
  isRunning,
  type ProcessIdentity,
  processesNaming,
  signalProcess,
} from '../../host/exec/index.ts';
import type { RuntimeContext } from '../context.ts';
import { unlessMissing } from '../errors.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { conmonFiles } from './conmon.ts';

/** How long a monitor may take to see that its container has ended, milliseconds. */
const graceMs = 1000;

/** The conmon of a container, while it runs. */
export async function monitorOf(context: RuntimeContext, id: string): Promise<ProcessIdentity | undefined> {
  const pid = Number(await unlessMissing(readFile(join(context.paths.bundle(id), conmonFiles.pid), 'utf8')));
  if (!(pid > 0)) return undefined;
  const identity = identifyProcess(pid);
  // The number may be another's by now.
  const commandLine = (await unlessMissing(readFile(`/proc/${pid}/cmdline`, 'utf8')).catch(() => '')) ?? '';
  return commandLine.includes(id) ? identity : undefined;
}

/**
 * Ends all that was begun to start a container: conmon, the OCI runtime, and what that has started. conmon goes last: its
 * children would otherwise stay as zombies where the machine's PID 1 does not care for them.
 */
export async function endMonitor(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  // Both have this in their command lines, and no program of a user has.
  const involved = processesNaming(`--bundle\0${context.paths.bundle(record.id)}\0`);
  const conmons = new Set(processesNaming(`${context.settings.conmonPath}\0`).map(({ pid }) => pid));
  const monitors = involved.filter(({ pid }) => conmons.has(pid));
  for (const pid of new Set(involved.flatMap(({ pid }) => descendants(pid)))) {
    const identity = identifyProcess(pid);
    if (identity && !monitors.some((one) => one.pid === pid)) signalProcess(identity, 'SIGKILL');
  }
  const gone = (): boolean => !monitors.some(isRunning);
  await pollUntil('the end of conmon', gone, { timeoutMs: graceMs, intervalMs: 5, clock: context.clock }).catch(
    () => {},
  );
  for (const monitor of monitors) signalProcess(monitor, 'SIGKILL');
}

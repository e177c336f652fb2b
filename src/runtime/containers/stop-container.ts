import { faultPoint } from '../../async/index.ts';
import { isRunning, type ProcessIdentity, signalProcess } from '../../host/exec/index.ts';
import { stage } from '../calls/index.ts';
import type { RuntimeContext } from '../context.ts';
import { RuntimeError } from '../errors.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { noteExit, takeLostExit, waitForExit } from './exited.ts';
import { signalNumber } from './stop-signal.ts';

/** How long a killed container may take to be reported dead, milliseconds. */
const killGraceMs = 10_000;

/**
 * Asks a container to end, and after `timeoutSeconds` kills everything in its cgroup. One that does not run is fine.
 * Several callers may wait; a later one with less patience kills earlier.
 * @throws RuntimeError when it does not die of SIGKILL
 */
export async function stopContainer(
  context: RuntimeContext,
  record: ContainerRecord,
  timeoutSeconds: number,
): Promise<void> {
  if (context.serial.busy(record.id)) await context.serial.run(record.id, () => {});
  if (record.phase.name !== 'running') return;
  const { process } = record.phase;
  if (timeoutSeconds > 0) {
    await faultPoint('stop-container:begin');
    sendSignal(process, record.stopSignal);
    await faultPoint('stop-container:asked');
    if (await stage('wait for its end', () => waitForExit(context, record, timeoutSeconds * 1000)))
      return untilCleared(context, record);
    context.log.info('container did not end in time and is killed', { id: record.id, timeoutSeconds });
  }
  await faultPoint('stop-container:kill');
  signalProcess(process, 'SIGKILL');
  await faultPoint('stop-container:killed');
  const killing = context.cgroups.kill(record.cgroupPath, { clock: context.clock, timeoutMs: killGraceMs });
  if (await stage('kill it', () => waitForExit(context, record, killGraceMs))) return untilCleared(context, record);
  await killing;
  await noteExit(context, record.id);
  if (!isRunning(process)) await takeLostExit(context, record.id);
  // The phase is changed by those who note the exit.
  if ((record.phase as ContainerRecord['phase']).name === 'running')
    throw new RuntimeError(
      'DEADLINE_EXCEEDED',
      `container "${record.id}" does not die of SIGKILL (process ${process.pid})`,
    );
}

/** Its first process has ended; in a shared PID namespace what it started may have not, and is being killed. */
function untilCleared(context: RuntimeContext, { id }: ContainerRecord): Promise<void> {
  return stage('clear up', () => context.serial.run(`exit ${id}`, () => {}));
}

function sendSignal(process: ProcessIdentity, name: string): void {
  signalProcess(process, signalNumber(name) ?? name);
}

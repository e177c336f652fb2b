import { ContainerEventType } from '../../../api/cri/index.ts';
import { publishContainer } from '../../containers/publish.ts';
import type { ContainerRecord } from '../../store/container-record.ts';
import type { DockerContext } from '../docker-context.ts';
import type { ContainerDetails } from '../engine/index.ts';
import { describeProcess } from './describe-process.ts';

/** How long the rest of a container's output is waited for after its end, milliseconds. */
const logPatienceMs = 10_000;
/** And the news that memory ran out, which the engine may tell after the end. */
const oomPatienceMs = 500;
/** The exit code of a process that was killed. */
const killed = 137;

/** Times of the engine, `2006-01-02T15:04:05.999999999Z`, as nanoseconds since 1970; of nothing, `0`. */
export function engineTime(text: string): string {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (!match || text.startsWith('0001-')) return '0';
  const seconds = BigInt(Date.parse(`${match[1]}${match[3]}`)) / 1000n;
  return String(seconds * 1_000_000_000n + BigInt((match[2] ?? '').padEnd(9, '0')));
}

/** Brings a record in line with what the engine says of the container, and tells of its end. Runs one at a time for each. */
export async function noteState(
  context: DockerContext,
  record: ContainerRecord,
  { State: state }: ContainerDetails,
  { onStarted }: { onStarted?: () => void } = {},
): Promise<void> {
  if (record.phase.name === 'exited') return;
  if (state.Status === 'created') return;
  const startedAtNs = engineTime(state.StartedAt);
  if (state.Running) {
    const found = describeProcess(state.Pid);
    if (found) {
      const { process, user, cgroupPath } = found;
      await context.store.containers.note(record.id, {
        phase: { name: 'running', process, startedAtNs },
        user,
        cgroupPath,
      });
      context.logs.follow(record);
      onStarted?.();
      return;
    }
    // It ends just now: the engine will say so.
  }
  const wasStarted = record.phase.name === 'running';
  context.logs.follow(record);
  if (!wasStarted) onStarted?.();
  if (state.Running) return;
  await context.logs.finished(record.id, logPatienceMs);
  await noteEnd(context, record, state, startedAtNs);
}

/** Whether the engine tells of it. Only a container with a limit is worth the wait. */
async function ranOutOfMemory({ clock, outOfMemory }: DockerContext, record: ContainerRecord): Promise<boolean> {
  if (!record.resources?.memoryLimitInBytes) return false;
  for (let waited = 0; waited < oomPatienceMs && !outOfMemory.has(record.id); waited += 50) await clock.sleep(50);
  return outOfMemory.delete(record.id);
}

async function noteEnd(
  context: DockerContext,
  record: ContainerRecord,
  state: ContainerDetails['State'],
  startedAtNs: string,
): Promise<void> {
  const { ExitCode: exitCode, Error: message } = state;
  const outOfMemory = state.OOMKilled || (exitCode === killed && (await ranOutOfMemory(context, record)));
  await context.store.containers.note(record.id, {
    phase: {
      name: 'exited',
      startedAtNs,
      finishedAtNs: engineTime(state.FinishedAt),
      exitCode,
      reason: outOfMemory ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error',
      message,
    },
  });
  publishContainer(context, record, ContainerEventType.CONTAINER_STOPPED_EVENT);
}

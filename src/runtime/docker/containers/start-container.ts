import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ContainerEventType } from '../../../api/cri/index.ts';
import { stage } from '../../calls/index.ts';
import { publishContainer } from '../../containers/publish.ts';
import { messageOf, notInState, RuntimeError } from '../../errors.ts';
import { toNanoseconds } from '../../identifiers.ts';
import type { ContainerRecord } from '../../store/container-record.ts';
import type { DockerContext } from '../docker-context.ts';
import type { ContainerDetails } from '../engine/index.ts';
import { noteState } from './note-state.ts';

/** The exit code of a container whose process could not be started. */
const startErrorCode = 128;

/** Starts a container that was created. */
export async function startContainer(context: DockerContext, givenId: string): Promise<void> {
  const { id } = context.store.containers.get(givenId);
  await context.serial.run(id, async () => {
    const record = context.store.containers.get(id);
    if (record.phase.name !== 'created') throw notInState(`container "${id}" has been started before: create another`);
    if (context.store.sandboxes.get(record.sandboxId).phase !== 'ready')
      throw notInState(`sandbox "${record.sandboxId}" is not running`);
    if (record.logPath) await makeLog(record.logPath);
    await context.store.containers.update(id, { phase: { name: 'starting' } });
    try {
      await stage('start', () => context.engine.post(`/containers/${id}/start`));
    } catch (cause) {
      await noteFailure(context, record, messageOf(cause));
      throw new RuntimeError('UNKNOWN', `failed to start container "${id}": ${messageOf(cause)}`, { cause });
    }
    await noteState(context, record, await context.engine.get<ContainerDetails>(`/containers/${id}/json`), {
      onStarted: () => publishContainer(context, record, ContainerEventType.CONTAINER_STARTED_EVENT),
    });
  });
}

/** There when the start is over, whatever is said and when. */
async function makeLog(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await appendFile(path, '', { mode: 0o640 });
}

async function noteFailure(context: DockerContext, record: ContainerRecord, message: string): Promise<void> {
  const now = String(toNanoseconds(context.clock.now()));
  await context.store.containers.note(record.id, {
    phase: {
      name: 'exited',
      startedAtNs: now,
      finishedAtNs: now,
      exitCode: startErrorCode,
      reason: 'StartError',
      message,
    },
  });
  publishContainer(context, record, ContainerEventType.CONTAINER_STOPPED_EVENT);
}

import type { DockerContext } from '../docker-context.ts';
import { type ContainerDetails, isConflict, isMissing } from '../engine/index.ts';
import { noteState } from './note-state.ts';

/** The engine's answer is waited for this much longer than the grace, milliseconds. */
const patienceMs = 60_000;

/** Ends a container: its stop signal, and after the grace SIGKILL. One that does not run, or is not there, is no error. */
export async function stopContainer(context: DockerContext, givenId: string, graceSeconds: number): Promise<void> {
  const record = context.store.containers.find(givenId);
  if (!record || record.phase.name === 'exited' || record.phase.name === 'created') return;
  const { id } = record;
  try {
    await (graceSeconds > 0 ? stop(context, id, graceSeconds) : kill(context, id));
  } catch (error) {
    // A conflict: it has just ended by itself.
    if (!isMissing(error) && !isConflict(error)) throw error;
  }
  await context.serial.run(id, async () => {
    const now = context.store.containers.find(id);
    if (!now) return;
    const details = await inspect(context, id);
    if (details) await noteState(context, now, details);
  });
}

async function stop({ engine }: DockerContext, id: string, graceSeconds: number): Promise<void> {
  const timeoutMs = graceSeconds * 1000 + patienceMs;
  await engine.post(`/containers/${id}/stop`, { query: { t: graceSeconds }, timeoutMs });
}

/** The engine's own stop sends the stop signal first, however little time there is. */
async function kill({ engine }: DockerContext, id: string): Promise<void> {
  await engine.post(`/containers/${id}/kill`, { query: { signal: 'SIGKILL' } });
  await engine.post(`/containers/${id}/wait`, { timeoutMs: patienceMs });
}

/** What the engine says of a container; undefined when it has none of that id. */
export async function inspect(context: DockerContext, id: string): Promise<ContainerDetails | undefined> {
  try {
    return await context.engine.get<ContainerDetails>(`/containers/${id}/json`);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

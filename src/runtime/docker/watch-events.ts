import { noteState } from './containers/note-state.ts';
import { inspect } from './containers/stop-container.ts';
import type { DockerContext } from './docker-context.ts';
import { labels } from './docker-context.ts';
import { type EngineEvent, jsonLines } from './engine/index.ts';
import { reconcile } from './reconcile.ts';
import { markStopped } from './sandboxes/stop-sandbox.ts';

/** When to ask the engine again after it has gone, milliseconds. */
const againMs = 500;

/**
 * Follows the engine's events until the signal aborts. After each time that the engine was away, everything is looked at
 * anew; `onFirst` is called when that has been done once.
 */
export async function watchEvents(context: DockerContext, signal: AbortSignal, onFirst: () => void): Promise<void> {
  const filters = JSON.stringify({ type: ['container'], label: [`${labels.owner}=${context.settings.root}`] });
  for (let told = false; !signal.aborted; ) {
    try {
      const stream = await context.engine.stream('GET', '/events', { query: { filters }, signal });
      // Whatever happens from here on is in the stream.
      await reconcile(context);
      onFirst();
      if (told) context.log.info('the Docker Engine is back');
      told = false;
      for await (const event of jsonLines<EngineEvent>(stream as AsyncIterable<Buffer>)) await heed(context, event);
      context.engine.forget();
    } catch (error) {
      if (signal.aborted) return;
      if (!told) context.log.warn('the Docker Engine does not answer, trying again', { error });
      told = true;
    }
    await context.clock.sleep(againMs, signal).catch(() => {});
  }
}

async function heed(context: DockerContext, { Action, Actor: { ID: id } }: EngineEvent): Promise<void> {
  if (Action === 'oom') return void context.outOfMemory.add(id);
  if (Action === 'destroy') return void context.outOfMemory.delete(id);
  if (Action !== 'die') return;
  const sandbox = context.store.sandboxes.find(id);
  // One that is being stopped is noted by whoever stops it.
  if (sandbox && sandbox.phase === 'ready') {
    void context.serial.run(id, () => markStopped(context, sandbox)).catch(() => {});
    return;
  }
  if (!context.store.containers.find(id)) return;
  void context.serial
    .run(id, async () => {
      const record = context.store.containers.find(id);
      const details = record && (await inspect(context, id));
      if (details) await noteState(context, record, details);
    })
    .catch((error: unknown) => context.log.warn('the end of a container cannot be noted', { id, error }));
}

import { type Clock, pollUntil } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import { askToStop } from './control.ts';
import { instancePaths, isRunning, ownNetworkNamespace, readInstance } from './instance.ts';
import { startInstance } from './up.ts';
import type { UpOptions } from './up-options.ts';

/** How an instance ended: it was asked to, or its supervisor was dead and its leftovers were taken away, or nothing was there. */
export type DownOutcome = 'stopped' | 'cleaned' | 'absent';

/**
 * Ends the instance of a data directory. When its supervisor has died, starts it once more to adopt what is there and
 * ends it in order, so that nothing stays behind.
 */
export async function stopInstance(
  dataDirectory: string,
  keepPods: boolean,
  context: { log: Logger; clock: Clock },
): Promise<DownOutcome> {
  const instance = await readInstance(dataDirectory);
  if (!instance) return 'absent';
  if (isRunning(instance)) {
    await askToStop(instancePaths(dataDirectory).control, keepPods);
    await pollUntil('the end of the instance', () => !isRunning(instance), {
      timeoutMs: 120_000,
      clock: context.clock,
    });
    return 'stopped';
  }
  if (keepPods) return 'cleaned';
  if (instance.networkNamespace !== ownNetworkNamespace()) {
    throw new Error(
      `the instance ran in another network namespace (${instance.networkNamespace}) and its supervisor has died: run 'deckhand down' inside that namespace`,
    );
  }
  const options = { ...(instance.options as unknown as UpOptions), demo: false, detach: false };
  const adopted = await startInstance(options, context, { onProgress: () => {}, onOutput: () => {} });
  await adopted.stop({ keepPods: false });
  return 'cleaned';
}

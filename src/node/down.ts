import { type Clock, pollUntil } from '../async/index.ts';
import type { Logger } from '../log/index.ts';
import { askToStop } from './control.ts';
import {
  type InstanceRecord,
  instancePaths,
  isRunning,
  ownNetworkNamespace,
  processStartTicks,
  readInstance,
} from './instance.ts';
import { unmountState } from './state-mount.ts';
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
  const instance = await settledInstance(dataDirectory, context.clock);
  if (!instance) {
    // A start that was killed at its very beginning, or could not end in order, may have left this.
    await unmountState(instancePaths(dataDirectory).runtimeState);
    return 'absent';
  }
  if (isRunning(instance)) {
    await askToStop(instancePaths(dataDirectory).control, keepPods);
    await pollUntil('the end of the instance', () => !isRunning(instance) && !launcherRuns(instance), {
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
  const adopted = await startInstance(
    options,
    { ...context, ending: true },
    { onProgress: () => {}, onOutput: () => {} },
  );
  await adopted.stop({ keepPods: false });
  return 'cleaned';
}

/**
 * The record of the instance, once it is clear whether it runs: a launcher that is about to start a killed supervisor
 * again is ended, and one that has just done so is waited for.
 */
async function settledInstance(dataDirectory: string, clock: Clock): Promise<InstanceRecord | undefined> {
  const instance = await readInstance(dataDirectory);
  if (!instance?.launcher || isRunning(instance)) return instance;
  const { pid, startTicks } = instance.launcher;
  if (processStartTicks(pid) !== startTicks) return instance;
  process.kill(pid, 'SIGKILL');
  const again = await pollUntil(
    'a new supervisor',
    async () => {
      const now = await readInstance(dataDirectory);
      return now && isRunning(now) ? now : undefined;
    },
    { timeoutMs: 1_500, clock },
  ).catch(() => undefined);
  return again ?? instance;
}

/** Whether the launcher of the instance is still there; it ends a moment after the supervisor. */
function launcherRuns({ launcher }: InstanceRecord): boolean {
  return launcher !== undefined && processStartTicks(launcher.pid) === launcher.startTicks;
}

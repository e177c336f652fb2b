import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, pollUntil } from '../async/index.ts';
import { spawnDetached } from '../host/service/index.ts';
import { type InstanceRecord, instancePaths, processStartTicks, readInstance } from './instance.ts';

/**
 * Starts `deckhand up` in the background and waits until its node is Ready.
 * @throws Error with the end of its log when it ended before
 */
export async function startDetached(
  argv: readonly string[],
  dataDirectory: string,
  clock: Clock,
): Promise<InstanceRecord> {
  const { log } = instancePaths(dataDirectory);
  await mkdir(dataDirectory, { recursive: true, mode: 0o711 });
  const file = await open(log, 'w', 0o600);
  const began = clock.now();
  const launcher = spawnDetached(join(import.meta.dirname, '../../bin/deckhand'), ['up', ...argv], file.fd);
  await file.close();
  return pollUntil(
    'the node Ready',
    async () => {
      const instance = await readInstance(dataDirectory);
      if (instance?.readyAt && Date.parse(instance.startedAt) >= began) return instance;
      if (processStartTicks(launcher) === undefined) throw new Error(await lastError(log));
      return undefined;
    },
    { timeoutMs: 120_000, intervalMs: 10, clock },
  );
}

/** What the background process said last: its own error if it named one. */
async function lastError(log: string): Promise<string> {
  const lines = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n');
  const own = lines.findLast((line) => line.startsWith('deckhand: '));
  return (
    own?.slice('deckhand: '.length) ??
    `the instance ended before it was ready; its log (${log}) ends with: ${lines.at(-1)}`
  );
}

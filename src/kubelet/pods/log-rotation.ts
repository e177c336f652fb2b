import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { quantityValue } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { RuntimeCache } from './runtime-cache.ts';
import type { RuntimeClient } from './runtime-client.ts';
import type { RuntimeContainer } from './runtime-state.ts';

/** When and how container logs are rotated. */
export interface LogRotationOptions {
  client: RuntimeClient;
  cache: RuntimeCache;
  /** Size from which a log is rotated: a quantity. */
  maximumSize: string;
  /** Files of one container, the current one included. */
  maximumFiles: number;
  intervalMs: number;
  clock: Clock;
  log: Logger;
}

const compress = promisify(gzip);

/** Rotates the logs of running containers until the signal aborts. */
export async function rotateLogs(options: LogRotationOptions, signal: AbortSignal): Promise<void> {
  const { cache, clock, intervalMs, log } = options;
  const bytes = quantityValue(options.maximumSize);
  while (!signal.aborted) {
    await clock.sleep(intervalMs, signal).catch(() => {});
    if (signal.aborted) return;
    for (const uid of cache.podUids()) {
      for (const container of cache.pod(uid).containers) {
        if (container.state !== 'running' || !container.logPath) continue;
        const info = await stat(container.logPath).catch(() => undefined);
        if (!info || info.size < bytes) continue;
        await rotate(options, container).catch((error: unknown) => {
          log.warn('cannot rotate a container log', { log: container.logPath, error });
        });
      }
    }
  }
}

/**
 * Moves a log aside (`0.log.20260102-030405`), has the runtime open a new one, compresses what was moved before and
 * removes what is too much. The newest of those moved stays as it is: somebody may still be reading it.
 */
export async function rotate(
  { client, maximumFiles, clock }: Pick<LogRotationOptions, 'client' | 'maximumFiles' | 'clock'>,
  { id, logPath }: Pick<RuntimeContainer, 'id' | 'logPath'>,
): Promise<void> {
  const name = basename(logPath);
  const directory = dirname(logPath);
  const old = (await readdir(directory)).filter((file) => file.startsWith(`${name}.`)).sort();
  for (const file of old.filter((one) => one.endsWith('.tmp'))) await rm(join(directory, file), { force: true });
  const kept = old.filter((file) => !file.endsWith('.tmp'));
  // The current one and the one that is moved now count, too.
  for (const file of kept.splice(0, Math.max(0, kept.length - (maximumFiles - 2))))
    await rm(join(directory, file), { force: true });
  for (const file of kept) if (!file.endsWith('.gz')) await compressFile(join(directory, file));
  const stamp = new Date(clock.now()).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  const moved = `${logPath}.${stamp}`;
  await rename(logPath, moved);
  try {
    await client.runtime.reopenContainerLog({ containerId: id }, { timeoutMs: 120_000 });
  } catch (error) {
    await rename(moved, logPath);
    throw error;
  }
}

async function compressFile(path: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await writeFile(temporary, await compress(await readFile(path)));
  await rename(temporary, `${path}.gz`);
  await rm(path);
}

import { createReadStream, createWriteStream } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
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
  /** How many logs are rotated at once. */
  workers: number;
  intervalMs: number;
  clock: Clock;
  log: Logger;
}

type RotatedContainer = Pick<RuntimeContainer, 'id' | 'logPath'>;

/** Rotates the logs of running containers until the signal aborts. */
export async function rotateLogs(options: LogRotationOptions, signal: AbortSignal): Promise<void> {
  const { cache, clock, intervalMs, workers } = options;
  const bytes = quantityValue(options.maximumSize);
  while (!signal.aborted) {
    await clock.sleep(intervalMs, signal).catch(() => {});
    if (signal.aborted) return;
    const running = cache
      .podUids()
      .flatMap((uid) => cache.pod(uid).containers)
      .filter(({ state, logPath }) => state === 'running' && logPath !== '');
    const work = async (): Promise<void> => {
      for (let one = running.shift(); one && !signal.aborted; one = running.shift())
        await rotateIfLarge(options, one, bytes);
    };
    await Promise.all(Array.from({ length: Math.max(1, workers) }, work));
  }
}

async function rotateIfLarge(options: LogRotationOptions, container: RotatedContainer, bytes: number): Promise<void> {
  const { cache, client, log } = options;
  try {
    const info = await stat(container.logPath).catch(() => undefined);
    if (!info) {
      // We were ended between moving the log aside and having it opened anew.
      if (cache.container(container.id)?.state !== 'running' || !(await wasMoved(container.logPath))) return;
      await client.runtime.reopenContainerLog({ containerId: container.id }, { timeoutMs: 120_000 });
    } else if (info.size >= bytes) await rotate(options, container);
  } catch (error) {
    if (cache.container(container.id)?.state === 'running')
      log.warn('cannot rotate a container log', { log: container.logPath, error });
  }
}

/**
 * Moves a log aside (`0.log.20260102-030405`), has the runtime open a new one, compresses what was moved before and
 * removes the oldest. The one that was moved last stays as it is: readers may still be at it.
 */
async function rotate(
  { client, maximumFiles, clock }: Pick<LogRotationOptions, 'client' | 'maximumFiles' | 'clock'>,
  { id, logPath }: RotatedContainer,
): Promise<void> {
  const directory = dirname(logPath);
  const old = await rotatedNames(logPath);
  for (const file of old.filter((one) => one.endsWith('.tmp'))) await rm(join(directory, file), { force: true });
  const kept = old.filter((file) => !file.endsWith('.tmp'));
  // The current one and the one that is moved now count, too.
  for (const file of kept.splice(0, Math.max(0, kept.length - (maximumFiles - 2))))
    await rm(join(directory, file), { force: true });
  for (const file of kept) if (!file.endsWith('.gz')) await compressFile(join(directory, file));
  const stamp = new Date(clock.now()).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  const moved = `${logPath}.${stamp}`;
  // Twice in one second, or a clock that was set back: names must grow, and nothing may be overwritten.
  const last = kept.at(-1);
  if (last !== undefined && basename(moved) <= last.replace(/\.gz$/, '')) return;
  await rename(logPath, moved);
  try {
    await client.runtime.reopenContainerLog({ containerId: id }, { timeoutMs: 120_000 });
  } catch (error) {
    // Only where nobody has made a new one.
    if (!(await stat(logPath).catch(() => undefined))) await rename(moved, logPath);
    throw error;
  }
}

async function rotatedNames(logPath: string): Promise<string[]> {
  const prefix = `${basename(logPath)}.`;
  return (await readdir(dirname(logPath)).catch(() => [])).filter((file) => file.startsWith(prefix)).sort();
}

const wasMoved = async (logPath: string): Promise<boolean> => (await rotatedNames(logPath)).length > 0;

/** Removes a log and what was rotated of it. */
export async function removeLogs(logPath: string): Promise<void> {
  for (const file of await rotatedNames(logPath)) await rm(join(dirname(logPath), file), { force: true });
  await rm(logPath, { force: true });
}

async function compressFile(path: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await pipeline(createReadStream(path), createGzip(), createWriteStream(temporary));
  await rename(temporary, `${path}.gz`);
  await rm(path);
}

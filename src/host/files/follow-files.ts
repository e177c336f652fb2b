import { stat } from 'node:fs/promises';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';

/** How files are followed. */
export interface FollowOptions {
  /** For the log. */
  what: string;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Time between looks, milliseconds. Default 2,000. */
  lookMs?: number;
  /** Call back only when a look finds the files as the look before did: whoever writes has done. */
  settle?: boolean;
}

/**
 * Calls back when one of some files has been replaced or written, until the signal aborts. A callback that throws (a file
 * that is half there, say) is called again at the next look. The paths may be a function: of files whose names change.
 */
export async function followFiles(
  paths: readonly string[] | (() => readonly string[]),
  onChange: () => Promise<void>,
  options: FollowOptions,
): Promise<void> {
  const { what, clock, log, signal, lookMs = 2_000, settle } = options;
  const look = () => stateOf(typeof paths === 'function' ? paths() : paths);
  let known = await look();
  let told = '';
  let seen = known;
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal).catch(() => {});
    if (signal.aborted) return;
    const now = await look();
    const settled = !settle || now === seen;
    seen = now;
    if (now === known || !settled) continue;
    try {
      await onChange();
      known = typeof paths === 'function' ? await look() : now;
      told = '';
      log.info('has read files again', { what });
    } catch (error) {
      if (now !== told) log.warn('files cannot be read again; what was read before stays in use', { what, error });
      told = now;
    }
  }
}

/** What tells one content of the files from another. */
async function stateOf(paths: readonly string[]): Promise<string> {
  const states = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        ({ ino, size, mtimeMs, ctimeMs }) => `${ino}:${size}:${mtimeMs}:${ctimeMs}`,
        () => '-',
      ),
    ),
  );
  return states.join(' ');
}

import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
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
  /**
   * Look as soon as the kernel tells of a change in the files' directories, and call back when two looks, so many milliseconds
   * apart, find the same: whoever writes has done. Looks by the clock stay, for file systems that tell nothing.
   */
  settleMs?: number;
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
  const { what, clock, log, signal, lookMs = 2_000, settleMs } = options;
  const now = () => (typeof paths === 'function' ? paths() : paths);
  using alarm = new DirectoryAlarm();
  if (settleMs !== undefined) alarm.follow(now());
  let known = await stateOf(now());
  let told = '';
  while (!signal.aborted) {
    await clock.sleep(lookMs, AbortSignal.any([signal, alarm.arm()])).catch(() => {});
    if (signal.aborted) return;
    const found = settleMs === undefined ? await stateOf(now()) : await settled(now, known, settleMs, options);
    if (found === known) continue;
    try {
      await onChange();
      known = typeof paths === 'function' ? await stateOf(now()) : found;
      told = '';
      log.info('has read files again', { what });
    } catch (error) {
      if (found !== told) log.warn('files cannot be read again; what was read before stays in use', { what, error });
      told = found;
    }
    if (settleMs !== undefined) alarm.follow(now());
  }
}

/** The state of files once two looks agree; at once, when it is the one that is known. */
async function settled(
  paths: () => readonly string[],
  known: string,
  settleMs: number,
  { clock, signal }: FollowOptions,
): Promise<string> {
  let before = await stateOf(paths());
  while (before !== known && !signal.aborted) {
    await clock.sleep(settleMs, signal).catch(() => {});
    const next = await stateOf(paths());
    if (next === before) break;
    before = next;
  }
  return before;
}

/** Goes off when something happens in a directory of files. What cannot be watched is left to the clock. */
class DirectoryAlarm {
  readonly #watchers = new Map<string, FSWatcher>();
  #nap = new AbortController();

  /** Watches the directories of these files, and no others. */
  follow(paths: readonly string[]): void {
    const wanted = new Set(paths.map((path) => dirname(path)));
    for (const [directory, watcher] of this.#watchers) {
      if (wanted.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const directory of wanted) {
      if (this.#watchers.has(directory)) continue;
      try {
        const watcher = watch(directory, { persistent: false }, () => this.#nap.abort(new Error('something happened')));
        watcher.on('error', () => watcher.close());
        this.#watchers.set(directory, watcher);
      } catch {
        // Not there, or no more watches: the clock finds out.
      }
    }
  }
  /** A signal that aborts at the next change; what happened before the call counts. */
  arm(): AbortSignal {
    const { signal } = this.#nap;
    if (signal.aborted) this.#nap = new AbortController();
    return signal;
  }
  [Symbol.dispose](): void {
    for (const watcher of this.#watchers.values()) watcher.close();
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

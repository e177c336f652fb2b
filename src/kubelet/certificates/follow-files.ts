import { stat } from 'node:fs/promises';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';

/** Time between looks at files that may be replaced, milliseconds. */
const lookMs = 2_000;

/**
 * Calls back when one of some files has been replaced or written, until the signal aborts. A callback that throws (a file
 * that is half there, say) is called again at the next look.
 */
export async function followFiles(
  paths: readonly string[],
  onChange: () => Promise<void>,
  options: { what: string; clock: Clock; log: Logger; signal: AbortSignal },
): Promise<void> {
  const { what, clock, log, signal } = options;
  let known = await stateOf(paths);
  let told = '';
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal).catch(() => {});
    if (signal.aborted) return;
    const now = await stateOf(paths);
    if (now === known) continue;
    try {
      await onChange();
      known = now;
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

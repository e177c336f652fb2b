import type { Clock } from '../../async/index.ts';
import type { RecordContext } from '../context.ts';

/** How long connections of clients may take to be set up, and may be idle. */
export function streamTimeouts(context: RecordContext): {
  setupTimeoutMs: number;
  idleTimeoutMs: number;
  clock: Clock;
} {
  const { streamingSetupTimeoutMs, streamingIdleTimeoutMs } = context.settings;
  return { setupTimeoutMs: streamingSetupTimeoutMs, idleTimeoutMs: streamingIdleTimeoutMs, clock: context.clock };
}

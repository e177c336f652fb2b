import { createInterface } from 'node:readline';
import { systemClock } from '../async/index.ts';
import { createLogger, textSink } from '../log/index.ts';
import type { ComponentModule } from './component-module.ts';
import { readLogLevel } from './flags.ts';
import { messages } from './launch.ts';

/**
 * Runs a component in this process until SIGINT or SIGTERM, or, when supervised, until the supervisor says stop or is
 * gone. Gives the exit status.
 */
export async function runAlone(
  module: ComponentModule<any>,
  values: Record<string, unknown>,
  supervised: boolean,
): Promise<number> {
  const level = readLogLevel(String(values['v'] ?? 2)) >= 4 ? 'debug' : 'info';
  const log = createLogger(
    module.name,
    textSink((line) => process.stderr.write(line), systemClock.now),
    level,
  );
  if (await module.once?.(values as never, { log, clock: systemClock })) return 0;
  const asked = new Promise<{ remove: boolean }>((resolve) => {
    process.on('SIGINT', () => resolve({ remove: false }));
    process.on('SIGTERM', () => resolve({ remove: false }));
    if (!supervised) return;
    const lines = createInterface({ input: process.stdin });
    lines.on('line', (line) => resolve({ remove: line === messages.remove }));
    lines.on('close', () => resolve({ remove: false }));
  });
  const component = await module.start(values as never, { log, clock: systemClock });
  // One that waits for another component, which may never come, can be stopped too.
  const served = component.ready.then(() => 'ready' as const);
  if ((await Promise.race([served, asked])) === 'ready')
    process.stdout.write(`${supervised ? messages.ready : `${module.name} is ready`}\n`);
  served.catch(() => {});
  const { remove } = await asked;
  await component.stop({ remove });
  return 0;
}

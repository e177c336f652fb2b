import { createInterface } from 'node:readline';
import { systemClock } from '../async/index.ts';
import { createLogger, jsonSink, type Level, textSink } from '../log/index.ts';
import type { ComponentContext, ComponentModule } from './component-module.ts';
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
  const context = makeContext(module.name, values);
  if (await module.once?.(values as never, context)) return 0;
  const asked = new Promise<{ remove: boolean }>((resolve) => {
    process.on('SIGINT', () => resolve({ remove: false }));
    process.on('SIGTERM', () => resolve({ remove: false }));
    if (!supervised) return;
    const lines = createInterface({ input: process.stdin });
    lines.on('line', (line) => resolve({ remove: line === messages.remove }));
    lines.on('close', () => resolve({ remove: false }));
  });
  const component = await module.start(values as never, context);
  if (component.reload)
    process.on('SIGHUP', () =>
      component.reload!().catch((error: unknown) =>
        context.log.error('the configuration cannot be read again; what was in effect stays', { error }),
      ),
    );
  // One that waits for another component, which may never come, can be stopped too.
  const served = component.ready.then(() => 'ready' as const);
  if ((await Promise.race([served, asked])) === 'ready')
    process.stdout.write(`${supervised ? messages.ready : `${module.name} is ready`}\n`);
  served.catch(() => {});
  const { remove } = await asked;
  await component.stop({ remove });
  return 0;
}

/** Runs one of a component's actions. Gives the exit status. */
export async function runAction(
  module: ComponentModule<any>,
  action: string,
  values: Record<string, unknown>,
): Promise<number> {
  return module.actions![action]!(values as never, makeContext(module.name, values));
}

/** The context of a command that logs to standard error. */
export function makeContext(name: string, values: Record<string, unknown>): ComponentContext {
  let level: Level = readLogLevel(String(values['v'] ?? 2)) >= 4 ? 'debug' : 'info';
  const write = (line: string): void => void process.stderr.write(line);
  const sinks = { text: textSink(write, systemClock.now), json: jsonSink(write, systemClock.now) };
  let sink = sinks.text;
  const log = createLogger(
    name,
    (...line) => sink(...line),
    () => level,
  );
  return {
    log,
    clock: systemClock,
    setLogLevel: (to) => {
      level = to;
    },
    setLogFormat: (format) => {
      sink = sinks[format];
    },
  };
}

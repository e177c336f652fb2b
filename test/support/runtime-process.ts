/**
 * Runs a container runtime until it is told to end: `node runtime-process.ts SETTINGS [ARCHIVE NAME]`. SETTINGS is JSON.
 * SIGTERM leaves everything, SIGUSR2 removes everything. Prints `ready`.
 * Faults (src/async/fault-point.ts) are armed by the variable DECKHAND_FAULT from the start on, and later by lines on
 * standard input, each answered with `armed` and those of before that have not gone off.
 */
import { createInterface } from 'node:readline';
import { armedFaults, armFaults, systemClock } from '../../src/async/index.ts';
import { createLogger, textSink } from '../../src/log/index.ts';
import { startRuntime } from '../../src/runtime/index.ts';

const [settings = '{}', archive, name] = process.argv.slice(2);
const log = createLogger(
  'runtime',
  textSink(
    (line) => void process.stderr.write(line),
    () => Date.now(),
  ),
);
armFaults(process.env.DECKHAND_FAULT ?? '');
const runtime = startRuntime(JSON.parse(settings), { log, clock: systemClock });
await runtime.ready;
if (archive) await runtime.images().importArchive(archive, { name: name ?? 'busybox' });
const end = (remove: boolean) => void runtime.stop({ remove }).then(() => process.exit(0));
process.on('SIGTERM', () => end(false));
process.on('SIGUSR2', () => end(true));
createInterface({ input: process.stdin }).on('line', (line) => {
  const left = armedFaults();
  armFaults(line);
  process.stdout.write(`armed ${left.join(' ')}\n`);
});
process.stdout.write('ready\n');

/**
 * Runs a container runtime until it is told to end: `node runtime-process.ts SETTINGS [ARCHIVE NAME]`. SETTINGS is JSON.
 * SIGTERM leaves everything, SIGUSR2 removes everything. Prints `ready`.
 */
import { systemClock } from '../../src/async/index.ts';
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
const runtime = startRuntime(JSON.parse(settings), { log, clock: systemClock });
await runtime.ready;
if (archive) await runtime.images().importArchive(archive, { name: name ?? 'busybox' });
process.stdout.write('ready\n');
const end = (remove: boolean) => void runtime.stop({ remove }).then(() => process.exit(0));
process.on('SIGTERM', () => end(false));
process.on('SIGUSR2', () => end(true));

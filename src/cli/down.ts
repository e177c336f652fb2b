import { resolve } from 'node:path';
import { systemClock } from '../async/index.ts';
import { createLogger, textSink } from '../log/index.ts';
import { dataDirFlag, describeFlags, type Flags, parseFlags, stopInstance } from '../node/index.ts';
import type { Command } from './command.ts';

const flags = {
  ...dataDirFlag,
  'keep-pods': { type: 'boolean', help: 'leave pods running; the next up adopts them' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

const command: Command = {
  summary: 'stop it and take everything away that it made',
  async run(argv) {
    const { values } = parseFlags(flags, argv);
    if (values.help) {
      console.log(
        `Usage: deckhand down [OPTIONS]\n\nStops the instance and takes away what it made on this machine; its data stays for the next up.\n\n${describeFlags(flags)}`,
      );
      return 0;
    }
    const log = createLogger(
      'down',
      textSink((line) => process.stderr.write(line), systemClock.now),
      'warn',
    );
    const dataDirectory = resolve(values['data-dir']);
    const outcome = await stopInstance(dataDirectory, values['keep-pods'], { log, clock: systemClock });
    const said = {
      stopped: 'stopped',
      cleaned: 'the supervisor had died; what it left was taken away',
      absent: `nothing runs with data directory ${dataDirectory}`,
    };
    console.log(said[outcome]);
    return 0;
  },
};
export default command;

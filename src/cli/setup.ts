import { describeFlags, type Flags, parseFlags, setUp } from '../node/index.ts';
import type { Command } from './command.ts';

const flags = {
  tests: { type: 'boolean', help: 'also what the tests need' },
  quiet: { type: 'boolean', help: 'say nothing when there is nothing to do' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

const command: Command = {
  summary: 'install the Debian packages that a node needs',
  async run(argv) {
    const { values } = parseFlags(flags, argv);
    if (values.help) {
      console.log(
        `Usage: deckhand setup [OPTIONS]\n\nInstalls the Debian packages that a node needs, naming each.\n\n${describeFlags(flags)}`,
      );
      return 0;
    }
    await setUp({ tests: values.tests, quiet: values.quiet, print: (line) => console.log(`deckhand: ${line}`) });
    return 0;
  },
};
export default command;

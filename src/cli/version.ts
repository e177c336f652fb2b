import packageJson from '../../package.json' with { type: 'json' };
import type { Command } from './command.ts';

const command: Command = {
  summary: 'print the version',
  async run() {
    console.log(`deckhand ${packageJson.version} (Kubernetes API v1.36, CRI v1, Node ${process.version})`);
    return 0;
  },
};
export default command;

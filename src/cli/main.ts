import { flushCompileCache } from 'node:module';
import { systemClock } from '../async/index.ts';
import { UsageError } from '../node/index.ts';
import type { Command } from './command.ts';

/** When everything that a long-running command needs has been loaded, milliseconds. */
const compiledAfterMs = 5000;

/** Every command with one line of what it does, in the order of --help. */
const commands: Record<string, { summary: string; load: () => Promise<{ default: Command }> }> = {
  up: { summary: 'start a cluster on this machine', load: () => import('./up.ts') },
  down: { summary: 'stop it and take everything away that it made', load: () => import('./down.ts') },
  status: { summary: 'show components, node, pods and Services', load: () => import('./status.ts') },
  timeline: { summary: "show where the time of a pod's start went", load: () => import('./timeline.ts') },
  setup: { summary: 'install the Debian packages that a node needs', load: () => import('./setup.ts') },
  image: { summary: 'pull, list, import, export, build and check images', load: () => import('./image.ts') },
  token: { summary: 'make, list and delete bootstrap tokens, with which nodes join', load: () => import('./token.ts') },
  version: { summary: 'print the version', load: () => import('./version.ts') },
};

/** Components as commands: each runs alone in anybody's cluster. */
const components: Record<string, string> = {
  apiserver: 'run the API server alone',
  scheduler: 'run the scheduler alone',
  controllers: 'run the controllers alone',
  dns: 'run the cluster DNS alone',
  kubelet: 'run the kubelet alone',
  runtime: 'run the container runtime (CRI) alone',
  proxy: 'run the Service proxy alone',
  'cri-docker': 'serve the CRI for a Docker Engine',
};

function help(): string {
  const line = ([name, summary]: [string, string]) => `  ${name.padEnd(12)} ${summary}`;
  return `Usage: deckhand COMMAND [OPTIONS]

${Object.entries(commands)
  .map(([name, { summary }]) => line([name, summary]))
  .join('\n')}

One component alone:
${Object.entries(components).map(line).join('\n')}

deckhand COMMAND --help shows a command's options.`;
}

/** Runs the command line; gives the exit status: 0 done, 1 failed, 2 not understood. */
async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    console.log(help());
    return name === undefined ? 2 : 0;
  }
  // Node keeps what it compiled when it ends by itself; one that is killed would compile anew at every start.
  systemClock.after(compiledAfterMs, flushCompileCache);
  if (name === '--version') return (await import('./version.ts')).default.run([]);
  try {
    if (commands[name]) return await (await commands[name].load()).default.run(rest);
    if (components[name]) return await (await import('./component.ts')).runComponent(name, components[name], rest);
    throw new UsageError(`there is no command ${JSON.stringify(name)}`);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(
        `deckhand: ${error.message}; see 'deckhand ${commands[name] || components[name] ? `${name} ` : ''}--help'`,
      );
      return 2;
    }
    const absent = /Cannot find module '[^']*\/src\/cli\//.test((error as Error).message);
    console.error(
      `deckhand: ${absent ? `there is no command ${name} in this image: it was made of one component` : describe(error)}`,
    );
    if (process.env['DECKHAND_TRACE']) console.error(error);
    return 1;
  }
}

/** An error with its causes in one sentence. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause =
    error.cause === undefined || error.message.includes(describe(error.cause)) ? '' : `: ${describe(error.cause)}`;
  return `${error.message}${cause}`;
}

process.exitCode = await main(process.argv.slice(2));
// Whatever still listens or waits must not keep a finished command alive.
process.exit();

import { type Clock, systemClock } from '../async/index.ts';
import { createLogger, textSink } from '../log/index.ts';
import {
  describeFlags,
  type Instance,
  parseFlags,
  readUpOptions,
  startDetached,
  startInstance,
  tellStory,
  type UpOptions,
  upFlags,
} from '../node/index.ts';
import type { Command } from './command.ts';

const flags = { ...upFlags, help: { type: 'boolean', short: 'h', help: 'show this' } } as const;

const command: Command = {
  summary: 'start a cluster on this machine',
  async run(argv) {
    const { values } = parseFlags(flags, argv);
    if (values.help) {
      console.log(
        `Usage: deckhand up [OPTIONS]\n\nStarts a control plane, a container runtime, a kubelet and a proxy, and stays until Ctrl-C.\n\n${describeFlags(flags)}`,
      );
      return 0;
    }
    const options = readUpOptions(values);
    if (options.detach) {
      const instance = await startDetached(
        argv.filter((one) => !/^--detach(=|$)/.test(one)),
        options.dataDirectory,
        systemClock,
      );
      console.log(`node ${instance.nodeName} is Ready; kubeconfig: ${instance.kubeconfig}`);
      return 0;
    }
    return runForeground(options, systemClock);
  },
};
export default command;

async function runForeground(options: UpOptions, clock: Clock): Promise<number> {
  const interrupted = new Promise<{ keepPods: boolean }>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => resolve({ keepPods: false }));
  });
  // The demo tells its own story; only what went wrong stands beside it.
  const quiet = options.demo;
  const log = createLogger(
    'up',
    textSink((line) => process.stderr.write(line), clock.now),
    options.verbose ? 'debug' : quiet ? 'warn' : 'info',
  );
  const instance = await startInstance(
    options,
    { log, clock },
    {
      onProgress: (what, ms) => {
        if (!quiet) console.log(`${String(ms).padStart(6)} ms  ${what}`);
      },
      onOutput: (component, line) => {
        if (!quiet || / (WARN|ERROR) /.test(line)) process.stderr.write(`${component}: ${line}\n`);
      },
    },
  );
  console.log(
    `node ${instance.record.nodeName} is Ready after ${(instance.readyMs / 1000).toFixed(2)} s; kubeconfig: ${instance.record.kubeconfig}`,
  );
  const asked = Promise.race([interrupted, instance.stopAsked]);
  const status = await runDemo(options, instance, clock, asked);
  const { keepPods } = await asked;
  console.log(keepPods ? 'stopping; pods are kept' : 'stopping');
  await instance.stop({ keepPods });
  return status;
}

/** Tells the story unless the end is asked for before it is over. Gives 1 when the story did not come true. */
async function runDemo(options: UpOptions, instance: Instance, clock: Clock, asked: Promise<unknown>): Promise<number> {
  if (!options.demo) return 0;
  const end = new AbortController();
  void asked.then(() => end.abort(new Error('interrupted')));
  try {
    await tellStory(instance, { clock, signal: end.signal, print: (line) => console.log(line) });
    return 0;
  } catch (error) {
    if (end.signal.aborted) return 0;
    console.error(`deckhand: the demo failed: ${(error as Error).message}`);
    return 1;
  }
}

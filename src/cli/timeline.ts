import { resolve } from 'node:path';
import { systemClock } from '../async/index.ts';
import { createLogger, textSink } from '../log/index.ts';
import { dataDirFlag, describeFlags, type Flags, loadTimeline, parseFlags, UsageError } from '../node/index.ts';
import type { Command } from './command.ts';

const flags = {
  ...dataDirFlag,
  namespace: {
    type: 'string',
    short: 'n',
    value: 'NAMESPACE',
    default: 'default',
    help: "the pod's namespace",
    notEmpty: true,
  },
  kubeconfig: {
    type: 'string',
    value: 'FILE',
    help: 'another cluster, in place of --data-dir; its nodes must run deckhand kubelet',
  },
  output: { type: 'string', short: 'o', value: 'FORMAT', help: 'json for programs' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

const usage = `Usage: deckhand timeline POD [OPTIONS]

Shows when each step of a pod's life happened, from the moment its kubelet saw it to the status that was written, and
how long each took: where the time of a start (or of an end) goes.

${describeFlags(flags)}`;

const command: Command = {
  summary: "show where the time of a pod's start went",
  async run(argv) {
    const { values, positionals } = parseFlags(flags, argv, { positionals: true });
    if (values.help) {
      console.log(usage);
      return 0;
    }
    if (positionals.length !== 1) throw new UsageError('name one pod, as in: deckhand timeline web-1 -n shop');
    if (values.output !== undefined && values.output !== 'json')
      throw new UsageError(`-o ${values.output} is not a format: use json`);
    const [namespace, pod] = positionals[0]!.includes('/')
      ? (positionals[0]!.split('/', 2) as [string, string])
      : [values.namespace, positionals[0]!];
    const log = createLogger(
      'timeline',
      textSink((line) => process.stderr.write(line), systemClock.now),
      'error',
    );
    const { fetchTimeline, formatTimeline } = await loadTimeline();
    const timeline = await fetchTimeline(
      {
        namespace,
        pod,
        dataDirectory: resolve(values['data-dir']),
        ...(values.kubeconfig ? { kubeconfig: values.kubeconfig } : {}),
      },
      { log, clock: systemClock },
    );
    console.log(values.output === 'json' ? JSON.stringify(timeline, null, 2) : formatTimeline(timeline));
    return 0;
  },
};
export default command;

import { resolve } from 'node:path';
import { systemClock } from '../async/index.ts';
import { createLogger, textSink } from '../log/index.ts';
import {
  collectStatus,
  dataDirFlag,
  describeFlags,
  type Flags,
  parseFlags,
  type StatusReport,
  UsageError,
} from '../node/index.ts';
import type { Command } from './command.ts';

const flags = {
  ...dataDirFlag,
  output: { type: 'string', short: 'o', value: 'FORMAT', help: 'json for programs' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

const command: Command = {
  summary: 'show components, node, pods and Services',
  async run(argv) {
    const { values } = parseFlags(flags, argv);
    if (values.help) {
      console.log(
        `Usage: deckhand status [OPTIONS]\n\nExits with 0 when the instance runs and its node is Ready, else with 1.\n\n${describeFlags(flags)}`,
      );
      return 0;
    }
    if (values.output !== undefined && values.output !== 'json')
      throw new UsageError(`-o ${values.output} is not a format: use json`);
    const log = createLogger(
      'status',
      textSink((line) => process.stderr.write(line), systemClock.now),
      'error',
    );
    const report = await collectStatus(resolve(values['data-dir']), { log, clock: systemClock });
    if (!report) {
      console.error(`deckhand: nothing runs with data directory ${resolve(values['data-dir'])}`);
      return 1;
    }
    console.log(values.output === 'json' ? JSON.stringify(report, null, 2) : formatStatus(report));
    return report.running && report.node?.ready ? 0 : 1;
  },
};
export default command;

const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

/** The report as one screen of text. */
function formatStatus(report: StatusReport): string {
  const head = [
    `${report.running ? 'running' : 'not running'} since ${report.startedAt}, ${megabytes(report.memoryBytes)} in all`,
    `server ${report.server}, kubeconfig ${report.kubeconfig}`,
    '',
    ...table(
      ['COMPONENT', 'STATE', 'PLACE', 'PID', 'MEMORY', 'RESTARTS'],
      report.components.map((one) => [
        one.name,
        one.state,
        one.place,
        String(one.pid),
        megabytes(one.memoryBytes),
        String(one.restarts),
      ]),
    ),
    ...(report.proxy ? [describeProxy(report.proxy)] : []),
    '',
  ];
  if (report.apiError) return [...head, `the API server does not answer: ${report.apiError}`].join('\n');
  const { node } = report;
  if (!node) return head.join('\n');
  return [
    ...head,
    `NODE ${node.name} ${node.ready ? 'Ready' : 'NotReady'} (${Object.entries(node.conditions)
      .map(([type, status]) => `${type}=${status}`)
      .join(' ')}) ${node.addresses.join(', ')}`,
    '',
    ...table(
      ['POD', 'READY', 'STATUS', 'RESTARTS', 'IP'],
      report.pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod.ready, pod.phase, String(pod.restarts), pod.ip]),
    ),
    '',
    ...table(
      ['SERVICE', 'CLUSTER-IP', 'PORTS', 'ENDPOINTS'],
      report.services.map((service) => [
        `${service.namespace}/${service.name}`,
        service.clusterIP,
        service.ports.join(','),
        service.endpoints.join(' ') || '<none>',
      ]),
    ),
  ].join('\n');
}

function describeProxy({ image, desired, ready, updated }: NonNullable<StatusReport['proxy']>): string {
  const rollout = updated < desired ? `, ${desired - updated} still to be exchanged` : '';
  return `proxy: DaemonSet kube-system/kube-proxy, ${ready} of ${desired} ready${rollout}, image ${image}`;
}

function table(head: string[], rows: string[][]): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

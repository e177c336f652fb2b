import { resolve } from 'node:path';
import { systemClock } from '../async/index.ts';
import {
  dataDirFlag,
  describeFlags,
  type Flags,
  loadTokens,
  parseFlags,
  readDuration,
  UsageError,
} from '../node/index.ts';
import type { Command } from './command.ts';

const flags = {
  ...dataDirFlag,
  kubeconfig: { type: 'string', value: 'FILE', help: "the cluster's administrator (default: the instance's)" },
  ttl: { type: 'string', value: 'TIME', default: '24h0m0s', help: 'create: how long it is good; 0s for ever' },
  description: { type: 'string', default: '', help: 'create: what it is for' },
  usages: { type: 'string', value: 'USES', default: 'signing,authentication', help: 'create: what it may be used for' },
  groups: {
    type: 'string',
    value: 'GROUPS',
    default: 'system:bootstrappers:kubeadm:default-node-token',
    help: 'create: groups of who uses it',
  },
  'bootstrap-kubeconfig': {
    type: 'string',
    value: 'FILE',
    help: 'create: write the file for --bootstrap-kubeconfig of a kubelet',
  },
  'print-join-command': { type: 'boolean', help: 'create: print how kubeadm joins with it' },
  output: { type: 'string', short: 'o', value: 'FORMAT', help: 'list: json for programs' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

const usage = `Usage: deckhand token create [TOKEN] | list | delete TOKEN...  [OPTIONS]

Bootstrap tokens, with which nodes join: a kubelet with --bootstrap-kubeconfig asks for its certificate with one.

${describeFlags(flags)}`;

const split = (text: string): string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);

const command: Command = {
  summary: 'make, list and delete bootstrap tokens, with which nodes join',
  async run(argv) {
    const { values, positionals } = parseFlags(flags, argv, { positionals: true });
    if (values.help) {
      console.log(usage);
      return 0;
    }
    const [action, ...tokens] = positionals;
    if (!['create', 'list', 'delete'].includes(action ?? ''))
      throw new UsageError(
        action ? `token cannot ${action}: it can create, list and delete` : 'say create, list or delete',
      );
    if (values.output !== undefined && values.output !== 'json')
      throw new UsageError(`-o ${values.output} is not a format: use json`);
    const ttlMs = readDuration('ttl', values.ttl);
    const place = await loadTokens();
    const kubeconfig = values.kubeconfig ? { kubeconfig: values.kubeconfig } : {};
    const client = await place.tokenClient({ dataDirectory: resolve(values['data-dir']), ...kubeconfig });
    try {
      if (action === 'list') return list(place, client, values.output === 'json');
      if (action === 'delete') {
        if (tokens.length === 0) throw new UsageError('token delete: which one?');
        for (const token of tokens) console.log(`bootstrap token ${await place.deleteToken(client, token)} deleted`);
        return 0;
      }
      const { description, usages, groups } = values;
      const wish = {
        ttlMs,
        description,
        usages: split(usages),
        groups: split(groups),
        ...(tokens[0] ? { token: tokens[0] } : {}),
      };
      const token = await place.createToken(client, wish, systemClock);
      const file = values['bootstrap-kubeconfig'];
      if (file) await place.writeBootstrapKubeconfig(file, client, token);
      const { server, ca = '' } = client.config;
      const join = () =>
        `kubeadm join ${new URL(server).host} --token ${token} --discovery-token-ca-cert-hash ${place.authorityDigest(ca)}`;
      console.log(values['print-join-command'] ? join() : token);
      return 0;
    } catch (error) {
      throw error instanceof place.TokenError ? new UsageError(error.message) : error;
    } finally {
      client.close();
    }
  },
};
export default command;

type Tokens = Awaited<ReturnType<typeof loadTokens>>;

async function list(place: Tokens, client: Parameters<Tokens['listTokens']>[0], json: boolean): Promise<number> {
  const tokens = await place.listTokens(client);
  if (json) {
    console.log(JSON.stringify(tokens, null, 2));
    return 0;
  }
  const rows = tokens.map((one) => [
    one.token,
    one.expires || '<forever>',
    one.usages.join(','),
    one.description,
    one.groups.join(','),
  ]);
  const table = [['TOKEN', 'EXPIRES', 'USAGES', 'DESCRIPTION', 'EXTRA GROUPS'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  for (const row of table)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('   ')
        .trimEnd(),
    );
  return 0;
}

import { readFile } from 'node:fs/promises';
import { parseResolvConf, startDns } from '../../controlplane/index.ts';
import { defineComponent } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import { clientFlags, clientFrom, commonFlags, readNumber } from './common.ts';

export default defineComponent({
  name: 'dns',
  summary: 'Answers names of Services and pods; the rest goes to the resolvers of the host.',
  flags: {
    ...clientFlags,
    listen: {
      type: 'string',
      value: 'ADDR:PORT',
      default: '0.0.0.0:10053',
      help: 'where to answer; the kube-dns Service leads there',
    },
    'cluster-domain': {
      type: 'string',
      value: 'NAME',
      default: 'cluster.local',
      help: 'under which Services are found',
    },
    'resolv-conf': { type: 'string', value: 'FILE', default: '/etc/resolv.conf', help: "the host's resolvers" },
    ...commonFlags,
  },
  async start(values, context) {
    const match = /^(.*):(\d+)$/.exec(values.listen);
    if (!match) throw new UsageError(`--listen ${values.listen} is not an address: use ADDR:PORT`);
    return startDns(
      {
        client: await clientFrom(values, 'dns', context),
        listenAddress: match[1]!,
        port: readNumber('listen', match[2]!, 1, 65_535),
        clusterDomain: values['cluster-domain'],
        upstreams: parseResolvConf(await readFile(values['resolv-conf'], 'utf8').catch(() => '')),
      },
      context,
    );
  },
});

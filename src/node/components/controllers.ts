import { readFile } from 'node:fs/promises';
import { startControllers } from '../../controlplane/index.ts';
import { defineComponent } from '../component-module.ts';
import { clientFlags, clientFrom, commonFlags } from './common.ts';

export default defineComponent({
  name: 'controllers',
  summary: 'Keeps Deployments, endpoints, namespaces, service accounts, nodes and owned objects as they should be.',
  flags: {
    ...clientFlags,
    'cluster-cidr': {
      type: 'string',
      value: 'CIDR',
      help: "the range of all pods' addresses, of which each node gets a part",
    },
    'root-ca-file': { type: 'string', value: 'FILE', help: "the cluster's CA, published in every namespace" },
    controllers: { type: 'string', value: 'NAMES', help: 'run only these, comma separated (default: all)' },
    ...commonFlags,
  },
  async start(values, context) {
    const rootCa = values['root-ca-file'] ? await readFile(values['root-ca-file'], 'utf8') : undefined;
    return startControllers(
      {
        client: await clientFrom(values, 'controllers', context),
        ...(values['cluster-cidr'] ? { podCidr: values['cluster-cidr'] } : {}),
        ...(rootCa ? { rootCa } : {}),
        ...(values.controllers ? { only: values.controllers.split(',') } : {}),
      },
      context,
    );
  },
});

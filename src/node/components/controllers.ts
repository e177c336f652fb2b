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
    'local-path-directory': {
      type: 'string',
      value: 'DIR',
      help: 'where claims of the StorageClass local-path get their directories (default: there is no such class)',
    },
    'local-path-node': { type: 'string', value: 'NAME', help: 'the node whose kubelet runs on this machine' },
    controllers: { type: 'string', value: 'NAMES', help: 'run only these, comma separated (default: all)' },
    ...commonFlags,
  },
  async start(values, context) {
    const rootCa = values['root-ca-file'] ? await readFile(values['root-ca-file'], 'utf8') : undefined;
    const localPath = localPathOf(values['local-path-directory'], values['local-path-node']);
    return startControllers(
      {
        client: await clientFrom(values, 'controllers', context),
        ...(values['cluster-cidr'] ? { podCidr: values['cluster-cidr'] } : {}),
        ...(rootCa ? { rootCa } : {}),
        ...(localPath ? { localPath } : {}),
        ...(values.controllers ? { only: values.controllers.split(',') } : {}),
      },
      context,
    );
  },
});

function localPathOf(directory: string | undefined, nodeName: string | undefined) {
  if (!directory && !nodeName) return undefined;
  if (!directory || !nodeName)
    throw new Error('--local-path-directory and --local-path-node go together: give both, or neither');
  return { directory, nodeName };
}

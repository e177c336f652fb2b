import { readFile } from 'node:fs/promises';
import { startControllers } from '../../controlplane/index.ts';
import { defineComponent } from '../component-module.ts';
import { readDuration, UsageError } from '../flags.ts';
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
    'cluster-signing-cert-file': { type: 'string', value: 'FILE', help: 'the authority that signs certificates' },
    'cluster-signing-key-file': { type: 'string', value: 'FILE', help: 'its key' },
    'cluster-signing-duration': {
      type: 'string',
      value: 'TIME',
      default: '8760h0m0s',
      help: 'longest life of a certificate',
    },
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
        ...(await readSigning(values)),
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

async function readSigning(values: Record<string, unknown>) {
  const file = (name: string) => values[`cluster-signing-${name}`] as string | undefined;
  const [cert, key] = [file('cert-file'), file('key-file')];
  if (!cert && !key) return {};
  if (!cert || !key) throw new UsageError('--cluster-signing-cert-file and --cluster-signing-key-file go together');
  const durationMs = readDuration('cluster-signing-duration', file('duration')!);
  const authority = { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
  return { signing: { authority, durationMs } };
}

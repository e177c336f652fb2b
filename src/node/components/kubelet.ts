import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseKubeletConfiguration, startKubelet } from '../../kubelet/index.ts';
import { findNodeIp } from '../addresses.ts';
import { defineComponent } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import { clientFlags, clientFrom, commonFlags, nodeNameFrom, readConfiguration } from './common.ts';

export default defineComponent({
  name: 'kubelet',
  summary: 'Runs the pods of one node on any CRI runtime. Takes the place of the upstream kubelet.',
  flags: {
    config: { type: 'string', value: 'FILE', help: 'a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)' },
    'config-dir': {
      type: 'string',
      value: 'DIR',
      help: 'more of it: files *.conf, laid over --config in the order of their names',
    },
    ...clientFlags,
    'container-runtime-endpoint': { type: 'string', value: 'unix://SOCKET', help: "the runtime's CRI socket" },
    'hostname-override': { type: 'string', value: 'NAME', help: 'the name of the node' },
    'node-ip': {
      type: 'string',
      value: 'ADDRESS',
      help: 'the address of the node (two for dual stack, comma separated)',
    },
    'node-labels': { type: 'string', value: 'K=V,…', help: 'labels to register the node with' },
    'root-dir': { type: 'string', value: 'DIR', default: '/var/lib/kubelet', help: "where pods' files are kept" },
    'image-credential-provider-config': {
      type: 'string',
      value: 'PATH',
      help: 'a CredentialProviderConfig: programs that give logins for images (a file, or a directory of them)',
    },
    'image-credential-provider-bin-dir': { type: 'string', value: 'DIR', help: 'where those programs are' },
    'pod-manifest-path': { type: 'string', value: 'DIR', help: 'manifests of static pods' },
    ...commonFlags,
  },
  async start(values, context) {
    const configuration = await loadConfiguration(values.config, values['config-dir']);
    const endpoint = values['container-runtime-endpoint'];
    const manifests = values['pod-manifest-path'];
    return startKubelet(
      {
        ...(values.kubeconfig || values.master ? { client: await clientFrom(values, 'kubelet', context) } : {}),
        nodeName: nodeNameFrom(values['hostname-override']),
        nodeIps: values['node-ip'] ? values['node-ip'].split(',') : [findNodeIp('10.88.0.0/16')],
        nodeLabels: readLabels(values['node-labels']),
        rootDirectory: values['root-dir'],
        ...credentialProviders(values['image-credential-provider-config'], values['image-credential-provider-bin-dir']),
        configuration: {
          ...configuration,
          ...(endpoint ? { containerRuntimeEndpoint: endpoint } : {}),
          ...(manifests ? { staticPodPath: manifests } : {}),
        },
      },
      context,
    );
  },
});

function credentialProviders(config: string | undefined, binDirectory: string | undefined) {
  if (config === undefined && binDirectory === undefined) return {};
  if (config === undefined || binDirectory === undefined)
    throw new UsageError('--image-credential-provider-config and --image-credential-provider-bin-dir go together');
  return { imageCredentialProviders: { config, binDirectory } };
}

async function loadConfiguration(
  file: string | undefined,
  directory: string | undefined,
): Promise<Record<string, unknown>> {
  const names = directory ? (await readdir(directory)).filter((name) => name.endsWith('.conf')).sort() : [];
  const drafts = await Promise.all(names.map((name) => readConfiguration(join(directory!, name))));
  const base = file
    ? await readConfiguration(file)
    : 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
  try {
    return parseKubeletConfiguration(base, drafts);
  } catch (error) {
    throw new UsageError(`${file ?? directory}: ${(error as Error).message}`);
  }
}

function readLabels(text: string | undefined): Record<string, string> {
  const pairs = (text ?? '')
    .split(',')
    .filter(Boolean)
    .map((pair) => pair.split('='));
  const bad = pairs.find((pair) => pair.length !== 2);
  if (bad) throw new UsageError(`--node-labels: ${bad.join('=')} is not KEY=VALUE`);
  return Object.fromEntries(pairs);
}

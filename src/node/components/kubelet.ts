import {
  ConfigurationError,
  type KubeletConfiguration,
  kubeletFlags,
  kubeletVersion,
  loadConfiguration,
  prepareOwnProcess,
  startNodeAgent,
} from '../../kubelet/index.ts';
import { nodeAddresses } from '../addresses.ts';
import { type ComponentContext, defineComponent } from '../component-module.ts';
import { type Flag, type Flags, UsageError } from '../flags.ts';
import { nodeNameFrom } from './common.ts';
import { readNodeLabels } from './node-labels.ts';

type Values = Record<string, string | boolean | string[] | undefined>;

export default defineComponent<Flags>({
  name: 'kubelet',
  summary: 'Runs the pods of one node on any CRI runtime. Takes the place of the upstream kubelet (docs/kubelet.md).',
  flags: makeFlags(),
  async once(given) {
    const values = given as Values;
    if (values['version']) console.log(`Kubernetes ${kubeletVersion}`);
    return values['version'] === true;
  },
  async start(given, context) {
    const values = given as Values;
    const text = (name: string): string => (values[name] as string | undefined) ?? '';
    const configuration = await understood(() => loadConfiguration(values, context.log));
    if (text('bootstrap-kubeconfig') && !text('kubeconfig'))
      throw new UsageError('--bootstrap-kubeconfig: needs --kubeconfig too, to be written there');
    const rootDirectory = text('root-dir') || '/var/lib/kubelet';
    if (!['', 'external'].includes(text('cloud-provider')))
      throw new UsageError(
        `--cloud-provider ${text('cloud-provider')}: cloud providers are external; leave it away or say external`,
      );
    const nodeIps = nodeAddresses(text('node-ip'));
    const nodeLabels = readNodeLabels((values['node-labels'] as string[] | undefined) ?? []);
    await prepare(configuration, context);
    return startNodeAgent(
      {
        ...(text('kubeconfig') ? { kubeconfig: text('kubeconfig') } : {}),
        ...(text('bootstrap-kubeconfig') ? { bootstrapKubeconfig: text('bootstrap-kubeconfig') } : {}),
        ...(text('master') ? { server: text('master') } : {}),
        ...(text('lock-file') ? { lockFile: text('lock-file') } : {}),
        exitOnLockContention: values['exit-on-lock-contention'] === true,
        nodeName: nodeNameFrom(text('hostname-override')),
        nodeIps,
        nodeIpsGiven: text('node-ip') !== '' && !/^(?:0\.0\.0\.0|::)$/.test(text('node-ip')),
        nodeLabels,
        rootDirectory,
        certDirectory: text('cert-dir') || `${rootDirectory}/pki`,
        externalCloud: text('cloud-provider') === 'external',
        ignoreEvictionInAllocatable: values['experimental-allocatable-ignore-eviction'] === true,
        runtimeCgroups: text('runtime-cgroups'),
        ...credentialProviders(text('image-credential-provider-config'), text('image-credential-provider-bin-dir')),
        serviceManager: {
          socket: process.env['NOTIFY_SOCKET'],
          watchdogUs: process.env['WATCHDOG_USEC'],
          watchdogPid: process.env['WATCHDOG_PID'],
        },
        systemBus: process.env['DBUS_SYSTEM_BUS_ADDRESS'],
        configuration,
      },
      context,
    );
  },
});

function credentialProviders(config: string, binDirectory: string) {
  if (!config && !binDirectory) return {};
  if (!config || !binDirectory)
    throw new UsageError('--image-credential-provider-config and --image-credential-provider-bin-dir go together');
  return { imageCredentialProviders: { config, binDirectory } };
}

/** Upstream's flags in the form that commands have theirs. */
function makeFlags(): Flags {
  const flags: Flags = {
    master: { type: 'string', value: 'URL', help: "the API server's address, in place of the kubeconfig's" },
  };
  for (const [name, { kind, field, help, value, short, ignored, refused }] of Object.entries(kubeletFlags)) {
    const repeated = !['bool', 'text', 'number'].includes(kind);
    const why = refused ? `only ${refused.default || "''"}: ${refused.why}` : ignored ? `does nothing: ${ignored}` : '';
    const flag: Flag = {
      type: kind === 'bool' ? 'boolean' : 'string',
      help: help ?? (field ? `${field} of the configuration` : why),
      ...(value ? { value } : {}),
      ...(short ? { short } : {}),
      ...(kind === 'bool' ? { optional: true as const } : {}),
      ...(repeated ? { multiple: true } : {}),
    };
    flags[name] = flag;
  }
  return flags;
}

/** What is wrong with a configuration is said as for any wrong option. */
async function understood<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof ConfigurationError ? new UsageError(error.message) : error;
  }
}

/** Settings that are for a process of the kubelet's own. */
async function prepare(configuration: KubeletConfiguration, context: ComponentContext): Promise<void> {
  const { format, verbosity } = configuration.logging;
  if (!context.setLogLevel) {
    if (configuration.kubeletCgroups)
      throw new UsageError(
        'kubeletCgroups: the kubelet shares its process here; give it one (--place kubelet=process)',
      );
    return;
  }
  if (verbosity !== undefined) context.setLogLevel(verbosity >= 4 ? 'debug' : 'info');
  if (format === 'json') context.setLogFormat?.('json');
  await prepareOwnProcess(configuration, context.log);
}

import {
  type DetectLocal,
  defaultSettings,
  type LoadedConfiguration,
  parseProxyConfiguration,
  removeProxyRules,
  startProxy,
} from '../../proxy/index.ts';
import { defineComponent } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import { clientFlags, clientFrom, commonFlags, nodeNameFrom, readConfiguration } from './common.ts';
import { ipvsFlags, readIpvsFlags } from './proxy-ipvs-flags.ts';

export default defineComponent({
  name: 'proxy',
  summary: 'Leads the addresses of Services to their pods, by rules in the kernel. Takes the place of kube-proxy.',
  flags: {
    config: {
      type: 'string',
      value: 'FILE',
      help: 'a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1); other options are then ignored',
    },
    ...clientFlags,
    'hostname-override': { type: 'string', value: 'NAME', help: 'the name of the node' },
    'proxy-mode': { type: 'string', value: 'MODE', default: 'nftables', help: 'nftables, iptables or ipvs' },
    'cluster-cidr': {
      type: 'string',
      value: 'CIDR',
      help: 'addresses of pods: what comes from elsewhere to a Service is masqueraded',
    },
    ...ipvsFlags,
    'masquerade-all': { type: 'boolean', help: 'masquerade everything that goes to a Service' },
    'healthz-bind-address': {
      type: 'string',
      value: 'ADDR:PORT',
      default: '0.0.0.0:10256',
      help: 'where to tell whether it is well',
    },
    'metrics-bind-address': {
      type: 'string',
      value: 'ADDR:PORT',
      default: '127.0.0.1:10249',
      help: 'where metrics are',
    },
    cleanup: { type: 'boolean', help: 'take away the rules of every mode and exit' },
    ...commonFlags,
  },
  async once(values, context) {
    if (!values.cleanup) return false;
    await removeProxyRules(context);
    return true;
  },
  async start(values, context) {
    const loaded = values.config
      ? parseProxyConfiguration(await readConfiguration(values.config), values.config)
      : settingsFromFlags(values);
    for (const warning of loaded.warnings) context.log.warn(warning);
    const client = await clientFrom(
      { kubeconfig: loaded.kubeconfig || values.kubeconfig, master: values.master },
      'proxy',
      context,
    );
    return startProxy(
      { ...loaded.settings, client, nodeName: nodeNameFrom(values['hostname-override'] ?? loaded.hostnameOverride) },
      context,
    );
  },
});

function settingsFromFlags(values: Record<string, unknown>): LoadedConfiguration {
  const mode = values['proxy-mode'];
  if (mode !== 'nftables' && mode !== 'iptables' && mode !== 'ipvs')
    throw new UsageError(`--proxy-mode ${mode} is not a mode: use nftables, iptables or ipvs`);
  const cidr = values['cluster-cidr'] as string | undefined;
  const detectLocal: DetectLocal = cidr ? { kind: 'cidr', cidrs: cidr.split(',') } : { kind: 'none' };
  return {
    settings: {
      ...defaultSettings,
      ...(mode === 'ipvs' ? readIpvsFlags(values, parseProxyConfiguration) : {}),
      mode,
      detectLocal,
      masqueradeAll: Boolean(values['masquerade-all']),
      healthzBindAddress: String(values['healthz-bind-address']),
      metricsBindAddress: String(values['metrics-bind-address']),
    },
    kubeconfig: '',
    hostnameOverride: '',
    warnings: [],
  };
}

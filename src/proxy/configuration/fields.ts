/** What a field of the configuration file holds. */
export type FieldType = 'string' | 'boolean' | 'integer' | 'number' | 'duration' | 'strings' | 'flags' | 'object';

/** A field of the configuration file. */
export interface ConfigurationField {
  type: FieldType;
  /** What an unset field (also null, an empty text, a duration of zero) means. */
  default?: unknown;
  /** It is for something that is not here: values other than the default are refused, with this reason. */
  refused?: string;
  /** It is taken, as upstream takes it, and does nothing: why. */
  unused?: string;
}

const text: ConfigurationField = { type: 'string', default: '' };
const flag: ConfigurationField = { type: 'boolean', default: false };
const leave: ConfigurationField = { type: 'duration', default: '0s' };
const windows: ConfigurationField = { ...text, refused: 'is for nodes of Windows' };
const windowsFlag: ConfigurationField = { ...flag, refused: 'is for nodes of Windows' };
/** 0s: as long as the last write took, up to a second (see settings.ts). */
const pause: ConfigurationField = { type: 'duration', default: '0s' };
const period: ConfigurationField = { type: 'duration', default: '30s' };
const bit: ConfigurationField = { type: 'integer', default: 14 };

/**
 * Every field of `kubeproxy.config.k8s.io/v1alpha1` KubeProxyConfiguration by its path, with upstream's default. Defaults
 * that depend on other fields (healthzBindAddress, metricsBindAddress, nodePortAddresses) are filled in by complete.ts.
 */
export const configurationFields: Readonly<Record<string, ConfigurationField>> = {
  featureGates: { type: 'flags', default: {} },
  'clientConnection.kubeconfig': text,
  'clientConnection.acceptContentTypes': text,
  'clientConnection.contentType': { type: 'string', default: 'application/vnd.kubernetes.protobuf' },
  'clientConnection.qps': { type: 'number', default: 5 },
  'clientConnection.burst': { type: 'integer', default: 10 },
  logging: { type: 'object', default: {} },
  hostnameOverride: text,
  bindAddress: { type: 'string', default: '0.0.0.0' },
  healthzBindAddress: { type: 'string' },
  metricsBindAddress: { type: 'string' },
  bindAddressHardFail: flag,
  enableProfiling: flag,
  showHiddenMetricsForVersion: text,
  mode: text,
  'iptables.masqueradeBit': bit,
  'iptables.masqueradeAll': flag,
  'iptables.localhostNodePorts': { type: 'boolean', default: true },
  'iptables.syncPeriod': period,
  'iptables.minSyncPeriod': pause,
  'ipvs.syncPeriod': period,
  'ipvs.minSyncPeriod': pause,
  'ipvs.scheduler': text,
  'ipvs.excludeCIDRs': { type: 'strings', default: [] },
  'ipvs.strictARP': flag,
  'ipvs.tcpTimeout': leave,
  'ipvs.tcpFinTimeout': leave,
  'ipvs.udpTimeout': leave,
  'nftables.masqueradeBit': bit,
  'nftables.masqueradeAll': flag,
  'nftables.syncPeriod': period,
  'nftables.minSyncPeriod': pause,
  'winkernel.networkName': windows,
  'winkernel.sourceVip': windows,
  'winkernel.enableDSR': windowsFlag,
  'winkernel.rootHnsEndpointName': windows,
  'winkernel.forwardHealthCheckVip': windowsFlag,
  detectLocalMode: text,
  'detectLocal.bridgeInterface': text,
  'detectLocal.interfaceNamePrefix': text,
  clusterCIDR: text,
  nodePortAddresses: { type: 'strings', default: [] },
  oomScoreAdj: { type: 'integer', default: -999 },
  'conntrack.maxPerCore': { type: 'integer', default: 32_768 },
  'conntrack.min': { type: 'integer', default: 131_072 },
  'conntrack.tcpEstablishedTimeout': { type: 'duration', default: '24h0m0s' },
  'conntrack.tcpCloseWaitTimeout': { type: 'duration', default: '1h0m0s' },
  'conntrack.tcpBeLiberal': flag,
  'conntrack.udpTimeout': leave,
  'conntrack.udpStreamTimeout': leave,
  configSyncPeriod: { type: 'duration', default: '15m0s' },
  portRange: { ...text, unused: 'it was for a mode that upstream has no longer' },
  windowsRunAsService: windowsFlag,
};

/** Fields where a given zero is not the same as unset. */
export const zeroCounts: ReadonlySet<string> = new Set([
  'conntrack.tcpEstablishedTimeout',
  'conntrack.tcpCloseWaitTimeout',
]);

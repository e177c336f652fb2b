import { parsePrefix } from '../host/netlink/index.ts';
import { loadYaml, plainJson } from '../wire/documents/index.ts';
import type { IpvsOptions, ProxyMode } from './backends/backend.ts';
import { proxyModes } from './backends/backend.ts';
import { configurationFields, findProblems, parseDuration } from './configuration-fields.ts';
import { ProxyError } from './errors.ts';

/** How the proxy tells pods of this node from everybody else. `node-cidr` takes the ranges from the Node object. */
export type DetectLocal =
  | { kind: 'none' }
  | { kind: 'node-cidr' }
  | { kind: 'cidr'; cidrs: readonly string[] }
  | { kind: 'bridge'; name: string }
  | { kind: 'interface-prefix'; prefix: string };

/** Settings of connection tracking; undefined leaves the kernel's value. Times in milliseconds. */
export interface ConntrackSettings {
  maxPerCore?: number;
  minimum?: number;
  tcpEstablishedTimeoutMs?: number;
  tcpCloseWaitTimeoutMs?: number;
  tcpBeLiberal?: boolean;
  udpTimeoutMs?: number;
  udpStreamTimeoutMs?: number;
}

/** How the proxy works: what upstream's configuration file says, with defaults filled in. */
export interface ProxySettings {
  mode: ProxyMode;
  detectLocal: DetectLocal;
  /** Masquerade all traffic to cluster IPs. Default false. */
  masqueradeAll: boolean;
  /** Bit of the packet mark that asks for masquerading. Default 14. */
  masqueradeBit: number;
  /** Prefixes, or `primary` for the node's own addresses. Empty: every address of the node. */
  nodePortAddresses: readonly string[];
  /** Whether node ports answer on 127.0.0.1. Default: true in iptables mode, false in the others. */
  localhostNodePorts: boolean;
  /** `host:port`; empty: no server. Default 0.0.0.0:10256. */
  healthzBindAddress: string;
  /** `host:port`; empty: no server. Default 127.0.0.1:10249. */
  metricsBindAddress: string;
  /** A taken port ends the start instead of being logged. Default false. */
  bindAddressHardFail: boolean;
  /** Least pause between two writes, milliseconds. Default 0: the first event acts at once, and bursts join by themselves. */
  minSyncPeriodMs: number;
  /** How often the kernel is compared with the plan, milliseconds. Default 30,000. */
  syncPeriodMs: number;
  conntrack: ConntrackSettings;
  ipvs: IpvsOptions;
}

/** What a configuration file says: settings, and what only a starter needs. */
export interface LoadedConfiguration {
  settings: ProxySettings;
  /** Path of the kubeconfig; empty: in-cluster. */
  kubeconfig: string;
  /** Empty: the machine's name. */
  hostnameOverride: string;
  /** What is accepted and does nothing here. */
  warnings: string[];
}

/** Settings without a file. */
export const defaultSettings: ProxySettings = {
  mode: 'nftables',
  detectLocal: { kind: 'none' },
  masqueradeAll: false,
  masqueradeBit: 14,
  nodePortAddresses: [],
  localhostNodePorts: false,
  healthzBindAddress: '0.0.0.0:10256',
  metricsBindAddress: '127.0.0.1:10249',
  bindAddressHardFail: false,
  minSyncPeriodMs: 0,
  syncPeriodMs: 30_000,
  conntrack: {},
  ipvs: {
    scheduler: 'rr',
    strictArp: false,
    excludeCidrs: [],
    tcpTimeoutMs: 0,
    tcpFinTimeoutMs: 0,
    udpTimeoutMs: 0,
  },
};

/** Fields of upstream's file that change nothing here, with the values that ask for nothing; a file that asks is told so. */
const withoutEffect: Record<string, readonly unknown[]> = {
  winkernel: [],
  portRange: [],
  windowsRunAsService: [],
  featureGates: [],
  bindAddress: ['', '0.0.0.0', '::'],
  oomScoreAdj: [null],
  enableProfiling: [false],
  configSyncPeriod: ['', '0s', '15m', '15m0s'],
};

type Document = Record<string, any>;

/**
 * Reads upstream's file format, kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration, in YAML or JSON. Unknown
 * fields, wrong types and values that make no sense are errors; all of them are told at once.
 * @throws ProxyError INVALID_CONFIGURATION, or UNSUPPORTED for a mode that is not here
 */
export function parseProxyConfiguration(text: string, name = 'proxy configuration'): LoadedConfiguration {
  let document: Document;
  try {
    document = (plainJson(text) ?? loadYaml().parse(text) ?? {}) as Document;
  } catch (cause) {
    throw new ProxyError('INVALID_CONFIGURATION', name, `not YAML: ${(cause as Error).message}`, { cause });
  }
  const problems = findProblems(document, { fields: configurationFields }, '');
  if (document['apiVersion'] !== 'kubeproxy.config.k8s.io/v1alpha1')
    problems.push('apiVersion: must be kubeproxy.config.k8s.io/v1alpha1');
  if (document['kind'] !== 'KubeProxyConfiguration') problems.push('kind: must be KubeProxyConfiguration');
  if (problems.length === 0) problems.push(...findBadValues(document));
  if (problems.length > 0) throw new ProxyError('INVALID_CONFIGURATION', name, problems.join('; '));
  const mode = document['mode'] || 'nftables';
  if (!proxyModes.includes(mode))
    throw new ProxyError('UNSUPPORTED', name, `mode ${JSON.stringify(mode)}: only ${proxyModes.join(', ')} are here`);
  return {
    settings: readSettings(document, mode),
    kubeconfig: document['clientConnection']?.kubeconfig ?? '',
    hostnameOverride: document['hostnameOverride'] ?? '',
    warnings: Object.keys(document)
      .filter((field) => withoutEffect[field] && !withoutEffect[field].includes(document[field]))
      .map((field) => `${field} has no effect`),
  };
}

function readSettings(document: Document, mode: ProxySettings['mode']): ProxySettings {
  const section: Document = document[mode] ?? {};
  // As upstream's, the mode ipvs masquerades by what the section iptables says.
  const masquerade: Document = mode === 'ipvs' ? (document['iptables'] ?? {}) : section;
  const conntrack: Document = document['conntrack'] ?? {};
  return {
    mode,
    detectLocal: readDetectLocal(document),
    masqueradeAll: masquerade['masqueradeAll'] ?? false,
    masqueradeBit: masquerade['masqueradeBit'] ?? 14,
    nodePortAddresses: document['nodePortAddresses'] ?? [],
    localhostNodePorts: mode === 'iptables' ? (section['localhostNodePorts'] ?? true) : false,
    healthzBindAddress: withPort(document['healthzBindAddress'] ?? '0.0.0.0:10256', 10256),
    metricsBindAddress: withPort(document['metricsBindAddress'] || '127.0.0.1:10249', 10249),
    bindAddressHardFail: document['bindAddressHardFail'] ?? false,
    minSyncPeriodMs: duration(section['minSyncPeriod']) ?? 0,
    syncPeriodMs: duration(section['syncPeriod']) || 30_000,
    conntrack: {
      maxPerCore: conntrack['maxPerCore'] ?? 32768,
      minimum: conntrack['min'] ?? 131072,
      tcpEstablishedTimeoutMs: duration(conntrack['tcpEstablishedTimeout']) ?? 86_400_000,
      tcpCloseWaitTimeoutMs: duration(conntrack['tcpCloseWaitTimeout']) ?? 3_600_000,
      tcpBeLiberal: conntrack['tcpBeLiberal'] ?? false,
      udpTimeoutMs: duration(conntrack['udpTimeout']),
      udpStreamTimeoutMs: duration(conntrack['udpStreamTimeout']),
    },
    ipvs: readIpvs(document['ipvs'] ?? {}),
  };
}

function readIpvs(section: Document): IpvsOptions {
  return {
    scheduler: section['scheduler'] || defaultSettings.ipvs.scheduler,
    strictArp: section['strictARP'] ?? false,
    excludeCidrs: section['excludeCIDRs'] ?? [],
    tcpTimeoutMs: duration(section['tcpTimeout']) ?? 0,
    tcpFinTimeoutMs: duration(section['tcpFinTimeout']) ?? 0,
    udpTimeoutMs: duration(section['udpTimeout']) ?? 0,
  };
}

function readDetectLocal(document: Document): DetectLocal {
  const local: Document = document['detectLocal'] ?? {};
  switch (document['detectLocalMode'] || 'ClusterCIDR') {
    case 'NodeCIDR':
      return { kind: 'node-cidr' };
    case 'BridgeInterface':
      return { kind: 'bridge', name: local['bridgeInterface'] };
    case 'InterfaceNamePrefix':
      return { kind: 'interface-prefix', prefix: local['interfaceNamePrefix'] };
    default: {
      const cidrs = splitCidrs(document['clusterCIDR']);
      return cidrs.length > 0 ? { kind: 'cidr', cidrs } : { kind: 'none' };
    }
  }
}

function findBadValues(document: Document): string[] {
  const problems: string[] = [];
  const prefix = (path: string, value: string) => {
    try {
      if (!value.includes('/')) throw new RangeError();
      parsePrefix(value);
    } catch {
      problems.push(`${path}: ${JSON.stringify(value)} is not a CIDR`);
    }
  };
  for (const cidr of splitCidrs(document['clusterCIDR'])) prefix('clusterCIDR', cidr);
  for (const cidr of document['nodePortAddresses'] ?? []) if (cidr !== 'primary') prefix('nodePortAddresses', cidr);
  const mode = document['detectLocalMode'];
  if (mode && !['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'].includes(mode))
    problems.push(`detectLocalMode: ${JSON.stringify(mode)} is not a mode`);
  if (mode === 'BridgeInterface' && !document['detectLocal']?.bridgeInterface)
    problems.push('detectLocal.bridgeInterface: must be set for BridgeInterface');
  if (mode === 'InterfaceNamePrefix' && !document['detectLocal']?.interfaceNamePrefix)
    problems.push('detectLocal.interfaceNamePrefix: must be set for InterfaceNamePrefix');
  for (const cidr of document['ipvs']?.excludeCIDRs ?? []) prefix('ipvs.excludeCIDRs', cidr);
  for (const field of ['tcpTimeout', 'tcpFinTimeout', 'udpTimeout'])
    if ((duration(document['ipvs']?.[field]) ?? 0) < 0) problems.push(`ipvs.${field}: must not be negative`);
  for (const section of ['iptables', 'nftables', 'ipvs']) {
    const bit = document[section]?.masqueradeBit;
    if (bit !== undefined && bit !== null && (bit < 0 || bit > 31))
      problems.push(`${section}.masqueradeBit: must be within 0 and 31`);
    for (const field of ['syncPeriod', 'minSyncPeriod'])
      if ((duration(document[section]?.[field]) ?? 0) < 0) problems.push(`${section}.${field}: must not be negative`);
  }
  for (const field of ['healthzBindAddress', 'metricsBindAddress'])
    if (document[field] && !splitBindAddress(withPort(document[field], 1)))
      problems.push(`${field}: ${JSON.stringify(document[field])} is not an address with a port`);
  return problems;
}

function splitCidrs(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);
}

function duration(value: string | number | undefined | null): number | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'number' ? value : parseDuration(value);
}

function withPort(address: string, port: number): string {
  if (address === '' || /:\d+$/.test(address.replace(/^[0-9a-fA-F:]*:[0-9a-fA-F:]*$/, ''))) return address;
  return address.includes(':') && !address.startsWith('[') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Splits `host:port` or `[host]:port`; undefined when it is neither. */
export function splitBindAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) return undefined;
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
}

import type { ProxyMode } from '../backends/backend.ts';
import { splitList } from './check-document.ts';
import { durationMs } from './duration.ts';
import { honouredGates } from './feature-gates.ts';
import type { ConntrackSettings, DetectLocal, LoadedConfiguration, ProxySettings } from './settings.ts';

type Document = Record<string, any>;

/** What a completed and checked document, and the options beyond it, say in the proxy's own terms. */
export function readSettings(document: Document, own: Document = {}): Omit<LoadedConfiguration, 'warnings'> {
  const { kubeconfig, qps, burst } = document['clientConnection'];
  const { format, verbosity } = document['logging'];
  return {
    settings: readProxySettings(document, own),
    connection: { kubeconfig, qps, burst },
    hostnameOverride: document['hostnameOverride'],
    logging: { ...(format ? { format } : {}), ...(typeof verbosity === 'number' ? { verbosity } : {}) },
    document,
  };
}

function readProxySettings(document: Document, own: Document): ProxySettings {
  // As upstream: blank means iptables in 1.36.
  const mode: ProxyMode = document['mode'] || 'iptables';
  const section: Document = document[mode];
  const masquerade: Document = mode === 'nftables' ? document['nftables'] : document['iptables'];
  const minimum = durationMs(section['minSyncPeriod'])!;
  const bindAddress: string = document['bindAddress'];
  return {
    mode,
    detectLocal: readDetectLocal(document),
    masqueradeAll: masquerade['masqueradeAll'],
    masqueradeBit: masquerade['masqueradeBit'],
    nodePortAddresses: readNodePortAddresses(document, mode),
    localhostNodePorts: mode === 'iptables' && document['iptables'].localhostNodePorts,
    ...(['0.0.0.0', '::'].includes(bindAddress) ? {} : { nodeAddress: bindAddress }),
    healthzBindAddress: document['healthzBindAddress'],
    metricsBindAddress: document['metricsBindAddress'],
    bindAddressHardFail: document['bindAddressHardFail'],
    profiling: document['enableProfiling'],
    ...(minimum > 0 ? { minSyncPeriodMs: minimum } : {}),
    syncPeriodMs: durationMs(section['syncPeriod'])!,
    configSyncPeriodMs: durationMs(document['configSyncPeriod'])!,
    conntrack: readConntrack(document['conntrack']),
    ipvs: {
      scheduler: document['ipvs'].scheduler || 'rr',
      excludeCidrs: document['ipvs'].excludeCIDRs,
      strictArp: document['ipvs'].strictARP,
      tcpTimeoutMs: durationMs(document['ipvs'].tcpTimeout)!,
      tcpFinTimeoutMs: durationMs(document['ipvs'].tcpFinTimeout)!,
      udpTimeoutMs: durationMs(document['ipvs'].udpTimeout)!,
    },
    oomScoreAdj: document['oomScoreAdj'],
    featureGates: honoured(document['featureGates']),
    serviceRoutes: own['serviceRoutes'] ?? true,
  };
}

/** nftables mode takes the node's own addresses unless told otherwise, as upstream's. */
function readNodePortAddresses(document: Document, mode: ProxyMode): string[] {
  const given: string[] = document['nodePortAddresses'];
  return given.length === 0 && mode === 'nftables' ? ['primary'] : given;
}

function readConntrack(given: Document): ConntrackSettings {
  return {
    maxPerCore: given['maxPerCore'],
    minimum: given['min'],
    tcpEstablishedTimeoutMs: durationMs(given['tcpEstablishedTimeout'])!,
    tcpCloseWaitTimeoutMs: durationMs(given['tcpCloseWaitTimeout'])!,
    tcpBeLiberal: given['tcpBeLiberal'],
    udpTimeoutMs: durationMs(given['udpTimeout'])!,
    udpStreamTimeoutMs: durationMs(given['udpStreamTimeout'])!,
  };
}

function readDetectLocal(document: Document): DetectLocal {
  const { detectLocalMode, detectLocal } = document;
  if (detectLocalMode === 'NodeCIDR') return { kind: 'node-cidr' };
  if (detectLocalMode === 'BridgeInterface') return { kind: 'bridge', name: detectLocal.bridgeInterface };
  if (detectLocalMode === 'InterfaceNamePrefix')
    return { kind: 'interface-prefix', prefix: detectLocal.interfaceNamePrefix };
  const cidrs = splitList(document['clusterCIDR']);
  return cidrs.length > 0 ? { kind: 'cidr', cidrs } : { kind: 'none' };
}

function honoured(gates: Record<string, boolean>): Record<string, boolean> {
  const names: readonly string[] = [...honouredGates, 'AllBeta'];
  return Object.fromEntries(Object.entries(gates).filter(([name]) => names.includes(name)));
}

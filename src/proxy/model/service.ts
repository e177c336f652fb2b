import type { Service } from '../../api/index.ts';
import { isIPv4, isIPv6 } from '../../host/netlink/index.ts';
import { readBalance } from './balance.ts';
import { readSourceRanges } from './source-ranges.ts';
import type { IpFamily, Protocol, ServiceModel, ServicePortModel } from './types.ts';

/** The label that leaves a Service to another proxy. */
export const proxyNameLabel = 'service.kubernetes.io/service-proxy-name';

/** Why a Service, or a part of it, is not balanced as it stands. */
export interface ServiceProblem {
  field: string;
  message: string;
}

/** Whether a Service is for this kind of proxy at all: not headless, not ExternalName, not another proxy's. */
export function isProxied(service: Service): boolean {
  const spec = service.spec ?? {};
  if (service.metadata.labels?.[proxyNameLabel] !== undefined) return false;
  return spec.type !== 'ExternalName' && spec.clusterIP !== 'None' && Boolean(spec.clusterIP);
}

/**
 * The model of a Service in one family; undefined when there is nothing to balance in it. What is wrong in the object
 * (addresses that are none, unknown protocols) is left out and told to `onProblem`.
 */
export function readService(
  service: Service,
  family: IpFamily,
  onProblem: (problem: ServiceProblem) => void = () => {},
): ServiceModel | undefined {
  if (!isProxied(service)) return undefined;
  const spec = service.spec ?? {};
  const clusterIps = spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? ''];
  const clusterIp = clusterIps.find((address) => isOfFamily(address, family));
  if (clusterIp === undefined) {
    for (const address of clusterIps)
      if (!isIPv4(address) && !isIPv6(address))
        onProblem({ field: 'spec.clusterIPs', message: `${JSON.stringify(address)} is not an IP address` });
    return undefined;
  }
  const addresses = (field: string, values: readonly string[] | undefined) => {
    for (const value of values ?? [])
      if (!isIPv4(value) && !isIPv6(value))
        onProblem({ field, message: `${JSON.stringify(value)} is not an IP address` });
    return [...new Set((values ?? []).filter((value) => isOfFamily(value, family)))];
  };
  const balancer = spec.type === 'LoadBalancer';
  const ingress = (balancer && service.status?.loadBalancer?.ingress) || [];
  const captured = ingress.filter((entry) => entry.ip && (entry.ipMode ?? 'VIP') === 'VIP').map((entry) => entry.ip!);
  const affinity = spec.sessionAffinity === 'ClientIP';
  const externalPolicy = spec.externalTrafficPolicy === 'Local' ? 'local' : 'cluster';
  return {
    key: `${service.metadata.namespace}/${service.metadata.name}`,
    clusterIp,
    externalIps: addresses('spec.externalIPs', spec.externalIPs),
    loadBalancerIps: addresses('status.loadBalancer.ingress', captured),
    sourceRanges: balancer
      ? readSourceRanges(spec.loadBalancerSourceRanges, family, (range) =>
          onProblem({ field: 'spec.loadBalancerSourceRanges', message: `${JSON.stringify(range)} is not a prefix` }),
        )
      : [],
    internalPolicy: spec.internalTrafficPolicy === 'Local' ? 'local' : 'cluster',
    externalPolicy,
    affinitySeconds: affinity ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10800) : 0,
    balance: readBalance(service, onProblem),
    healthCheckNodePort: balancer && externalPolicy === 'local' ? (spec.healthCheckNodePort ?? 0) : 0,
    ports: (spec.ports ?? []).flatMap((port) => readPort(port, spec.type, onProblem)),
  };
}

function readPort(
  port: { name?: string; protocol?: string; port: number; nodePort?: number },
  type: string | undefined,
  onProblem: (problem: ServiceProblem) => void,
): ServicePortModel[] {
  const protocol = port.protocol ?? 'TCP';
  if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') {
    onProblem({ field: 'spec.ports', message: `${JSON.stringify(protocol)} is not a protocol` });
    return [];
  }
  const open = type === 'NodePort' || type === 'LoadBalancer';
  for (const [field, number] of [
    ['port', port.port],
    ['nodePort', port.nodePort ?? 0],
  ] as const) {
    const least = field === 'port' ? 1 : 0;
    if (Number.isInteger(number) && number >= least && number <= 65_535) continue;
    onProblem({ field: `spec.ports.${field}`, message: `${JSON.stringify(number)} is not a port` });
    return [];
  }
  return [
    { name: port.name ?? '', protocol: protocol as Protocol, port: port.port, nodePort: (open && port.nodePort) || 0 },
  ];
}

/** Whether the text is an address of the family. */
export function isOfFamily(address: string, family: IpFamily): boolean {
  return family === 4 ? isIPv4(address) : isIPv6(address);
}

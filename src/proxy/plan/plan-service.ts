import { portKey } from '../model/endpoints.ts';
import type { EndpointModel, ServiceModel, ServicePortModel } from '../model/types.ts';
import type { Destination, Frontend, ServicePortPlan } from './types.ts';

/** What the proxy knows of its own node that endpoint hints speak of. */
export interface Topology {
  nodeName: string;
  /** Value of the node's zone label; empty without one. */
  zone: string;
}

/** Plans every port of a Service. Pure. */
export function planService(
  service: ServiceModel,
  endpoints: ReadonlyMap<string, readonly EndpointModel[]>,
  topology: Topology,
): ServicePortPlan[] {
  return service.ports.map((port) => {
    const candidates = endpoints.get(portKey(port.name, port.protocol)) ?? [];
    return {
      name: port.name === '' ? service.key : `${service.key}:${port.name}`,
      service: service.key,
      protocol: port.protocol,
      affinitySeconds: service.affinitySeconds,
      ...(service.balance ? { balance: service.balance } : {}),
      ...chooseDestinations(candidates, topology),
      frontends: planFrontends(service, port),
    };
  });
}

/**
 * The destinations under both policies: ready endpoints; when there is none, those that still serve while they
 * terminate, decided for each policy by itself. Hints narrow the Cluster policy only.
 */
export function chooseDestinations(
  endpoints: readonly EndpointModel[],
  topology: Topology,
): { cluster: Destination[]; local: Destination[] } {
  const usable = (candidates: readonly EndpointModel[]) => {
    const ready = candidates.filter((endpoint) => endpoint.ready);
    return ready.length > 0 ? ready : candidates.filter((endpoint) => endpoint.serving && endpoint.terminating);
  };
  return {
    cluster: followHints(usable(endpoints), topology).map(destination),
    local: usable(endpoints.filter((endpoint) => endpoint.local)).map(destination),
  };
}

/** Hints count only when every endpoint has one and one is for us; node hints go before zone hints. */
function followHints(endpoints: readonly EndpointModel[], topology: Topology): readonly EndpointModel[] {
  for (const [hints, own] of [
    [(endpoint: EndpointModel) => endpoint.nodeHints, topology.nodeName],
    [(endpoint: EndpointModel) => endpoint.zoneHints, topology.zone],
  ] as const) {
    if (own === '' || endpoints.some((endpoint) => hints(endpoint).length === 0)) continue;
    const preferred = endpoints.filter((endpoint) => hints(endpoint).includes(own));
    if (preferred.length > 0) return preferred;
  }
  return endpoints;
}

function destination({ address, port, local, weight }: EndpointModel): Destination {
  return weight === undefined ? { address, port, local } : { address, port, local, weight };
}

function planFrontends(service: ServiceModel, port: ServicePortModel): Frontend[] {
  const frontend = (
    kind: Frontend['kind'],
    address: string,
    number: number,
    sourceRanges: readonly string[] = [],
  ): Frontend => ({
    kind,
    address,
    protocol: port.protocol,
    port: number,
    policy: kind === 'cluster-ip' ? service.internalPolicy : service.externalPolicy,
    sourceRanges,
  });
  const frontends = [frontend('cluster-ip', service.clusterIp, port.port)];
  for (const address of service.loadBalancerIps)
    frontends.push(frontend('load-balancer', address, port.port, service.sourceRanges));
  for (const address of service.externalIps)
    if (!service.loadBalancerIps.includes(address)) frontends.push(frontend('external-ip', address, port.port));
  if (port.nodePort > 0) frontends.push(frontend('node-port', '', port.nodePort));
  return frontends;
}

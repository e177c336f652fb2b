import type { EndpointSlice } from '../../api/index.ts';
import { isOfFamily } from './service.ts';
import type { EndpointModel, IpFamily } from './types.ts';

/** The label that names a slice's Service. */
export const serviceNameLabel = 'kubernetes.io/service-name';

/** The label of slices that belong to headless Services. */
export const headlessLabel = 'service.kubernetes.io/headless';

/** The `namespace/name` of the Service that a slice belongs to; undefined when it is for no proxy. */
export function serviceOf(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[serviceNameLabel];
  if (!name || slice.metadata.labels?.[headlessLabel] !== undefined) return undefined;
  return `${slice.metadata.namespace}/${name}`;
}

/**
 * The endpoints of every port of a Service, by port name and protocol (`http/TCP`), merged over its slices. Of one
 * address and port that several slices list, the one that is not terminating wins. Sorted by address and port, so that
 * the order does not depend on the order of slices.
 */
export function readEndpoints(
  slices: Iterable<EndpointSlice>,
  family: IpFamily,
  nodeName: string,
): Map<string, EndpointModel[]> {
  const byPort = new Map<string, Map<string, EndpointModel>>();
  for (const slice of slices) {
    if (slice.addressType !== (family === 4 ? 'IPv4' : 'IPv6')) continue;
    for (const port of slice.ports ?? []) {
      if (!isPort(port.port) || port.name === null) continue;
      const key = portKey(port.name ?? '', port.protocol ?? 'TCP');
      let endpoints = byPort.get(key);
      if (!endpoints) byPort.set(key, (endpoints = new Map()));
      for (const endpoint of slice.endpoints ?? []) {
        const address = endpoint.addresses?.[0];
        if (address === undefined || !isOfFamily(address, family)) continue;
        const ready = endpoint.conditions?.ready ?? true;
        const model: EndpointModel = {
          address,
          port: port.port,
          local: endpoint.nodeName === nodeName,
          ready,
          serving: endpoint.conditions?.serving ?? ready,
          terminating: endpoint.conditions?.terminating ?? false,
          zoneHints: endpoint.hints?.forZones?.map((zone) => zone.name) ?? [],
          nodeHints: endpoint.hints?.forNodes?.map((node) => node.name) ?? [],
        };
        const before = endpoints.get(`${address} ${port.port}`);
        if (!before || (before.terminating && !model.terminating)) endpoints.set(`${address} ${port.port}`, model);
      }
    }
  }
  const merged = new Map<string, EndpointModel[]>();
  for (const [key, endpoints] of byPort) merged.set(key, [...endpoints.values()].sort(byAddress));
  return merged;
}

/** The key of a port in {@link readEndpoints}. */
export function portKey(name: string, protocol: string): string {
  return `${name}/${protocol}`;
}

function isPort(port: number | undefined): port is number {
  return Number.isInteger(port) && port! >= 1 && port! <= 65_535;
}

function byAddress(a: EndpointModel, b: EndpointModel): number {
  return a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port;
}

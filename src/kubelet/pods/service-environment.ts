import type { Service } from '../../api/index.ts';

/**
 * The variables that tell a container where services are: `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT` and those that
 * container links used to have (`NAME_PORT_80_TCP_ADDR` …). Services of the pod's namespace (only if it wants links) and
 * `default/kubernetes`.
 */
export function serviceEnvironment(services: Service[], namespace: string, links: boolean): Map<string, string> {
  const variables = new Map<string, string>();
  const chosen = new Map<string, Service>();
  for (const service of services) {
    const { name, namespace: home } = service.metadata;
    const address = service.spec?.clusterIP;
    if (!address || address === 'None' || !service.spec?.ports?.length) continue;
    if (home === namespace && (links || name === 'kubernetes')) {
      if (links || home === 'default') chosen.set(name!, service);
    } else if (home === 'default' && name === 'kubernetes' && !chosen.has(name)) chosen.set(name, service);
  }
  for (const name of [...chosen.keys()].sort()) addService(variables, chosen.get(name)!);
  return variables;
}

function addService(variables: Map<string, string>, service: Service): void {
  const prefix = variableName(service.metadata.name!);
  const address = service.spec!.clusterIP!;
  const host = address.includes(':') ? `[${address}]` : address;
  const ports = service.spec!.ports!;
  variables.set(`${prefix}_SERVICE_HOST`, address);
  variables.set(`${prefix}_SERVICE_PORT`, String(ports[0]!.port));
  for (const port of ports) {
    if (port.name) variables.set(`${prefix}_SERVICE_PORT_${variableName(port.name)}`, String(port.port));
  }
  for (const [index, { port, protocol = 'TCP' }] of ports.entries()) {
    const url = `${protocol.toLowerCase()}://${host}:${port}`;
    const link = `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;
    if (index === 0) variables.set(`${prefix}_PORT`, url);
    variables.set(link, url);
    variables.set(`${link}_PROTO`, protocol.toLowerCase());
    variables.set(`${link}_PORT`, String(port));
    variables.set(`${link}_ADDR`, address);
  }
}

function variableName(name: string): string {
  return name.toUpperCase().replaceAll('-', '_');
}

import type { Endpoint, EndpointSlice, Service } from '../../api/index.ts';

/** What the zone asks of the cluster's objects. */
export interface ZoneSource {
  service(namespace: string, name: string): Service | undefined;
  slices(namespace: string, name: string): readonly EndpointSlice[];
  hasNamespace(name: string): boolean;
  /** The names that an address has; see ReverseIndex. */
  namesOf(address: string): readonly string[];
}

/** A record of an answer. The name is the one asked for unless `name` says another. */
export type ZoneRecord =
  | { type: 'A' | 'AAAA'; data: string; name?: string }
  | { type: 'CNAME' | 'PTR'; data: string; name?: string }
  | { type: 'TXT'; data: string; name?: string }
  | { type: 'SRV'; data: { priority: number; weight: number; port: number; target: string }; name?: string };

/** What the zone says to a question. */
export type ZoneAnswer =
  | { kind: 'records'; records: ZoneRecord[]; additionals: ZoneRecord[] }
  /** The name is there, but has no record of the type. */
  | { kind: 'empty' }
  | { kind: 'noName' }
  /** Not ours: someone else may know. */
  | { kind: 'elsewhere' }
  /** An ExternalName Service: another name stands for it. */
  | { kind: 'alias'; target: string };

/** An address with the name that it has under its Service. */
interface Place {
  address: string;
  label: string;
  ports: { name: string; protocol: string; port: number }[];
}

const none: ZoneAnswer = { kind: 'noName' };
const empty: ZoneAnswer = { kind: 'empty' };

/** Answers for the cluster's domain (specification for DNS-based service discovery, 1.1.0). Names are in lower case. */
export function answerZone(name: string, type: string, domain: string, source: ZoneSource): ZoneAnswer {
  if (name.endsWith('.in-addr.arpa') || name.endsWith('.ip6.arpa')) return answerReverse(name, type, source);
  if (name === domain) return empty;
  if (!name.endsWith(`.${domain}`)) return { kind: 'elsewhere' };
  const labels = name
    .slice(0, -domain.length - 1)
    .split('.')
    .reverse();
  const [kind, namespace, ...rest] = labels;
  if (kind === 'dns-version' && labels.length === 1) {
    return type === 'TXT' || type === 'ANY' ? only({ type: 'TXT', data: '1.1.0' }) : empty;
  }
  if (kind !== 'svc' && kind !== 'pod') return none;
  if (namespace === undefined) return empty;
  if (!source.hasNamespace(namespace)) return none;
  if (rest.length === 0) return empty;
  if (kind === 'pod') return rest.length === 1 ? answerPod(rest[0]!, type) : none;
  return answerService({ namespace, service: rest[0]!, inner: rest.slice(1) }, type, domain, source);
}

function only(...records: ZoneRecord[]): ZoneAnswer {
  return { kind: 'records', records, additionals: [] };
}

/** `10-244-0-7.ns.pod`: the address is in the name. */
function answerPod(label: string, type: string): ZoneAnswer {
  const address = addressOfLabel(label);
  if (!address) return none;
  return addressRecords([address], type);
}

/** The address that a label like `10-244-0-7` or `fd00--7` writes. */
export function addressOfLabel(label: string): string | undefined {
  const v4 = label.split('-');
  if (v4.length === 4 && v4.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return v4.join('.');
  const v6 = label.replaceAll('-', ':');
  return /^[\da-f:]+$/.test(v6) && v6.split(':').length > 2 && v6.split(':').length <= 9 ? v6 : undefined;
}

function addressRecords(addresses: readonly string[], type: string): ZoneAnswer {
  const records = addresses
    .map((data): ZoneRecord => ({ type: data.includes(':') ? 'AAAA' : 'A', data }))
    .filter((record) => record.type === type || type === 'ANY');
  return records.length > 0 ? only(...records) : empty;
}

function answerService(
  where: { namespace: string; service: string; inner: readonly string[] },
  type: string,
  domain: string,
  source: ZoneSource,
): ZoneAnswer {
  const { namespace, inner } = where;
  const service = source.service(namespace, where.service);
  if (!service) return none;
  const { spec } = service;
  if (spec?.type === 'ExternalName') {
    return inner.length === 0 ? { kind: 'alias', target: (spec.externalName ?? '').toLowerCase() } : none;
  }
  const base = `${where.service}.${namespace}.svc.${domain}`;
  const headless = spec?.clusterIP === 'None';
  if (inner.length === 0) {
    if (type === 'SRV') return answerPorts(service, '', '', base, source);
    if (!headless) return addressRecords((spec?.clusterIPs ?? [spec?.clusterIP]).filter(isAddress), type);
    const places = placesOf(service, source);
    // A headless Service without ready pods has a name, but no address.
    return addressRecords(shuffled([...new Set(places.map(({ address }) => address))]), type);
  }
  if (inner.length === 2 && inner[0]!.startsWith('_') && inner[1]!.startsWith('_')) {
    const found = answerPorts(service, inner[1]!.slice(1), inner[0]!.slice(1), base, source);
    return found.kind !== 'records' || type === 'SRV' || type === 'ANY' ? found : empty;
  }
  if (inner.length === 1 && headless) {
    const places = placesOf(service, source).filter(({ label }) => label === inner[0]);
    return places.length > 0
      ? addressRecords(
          places.map(({ address }) => address),
          type,
        )
      : none;
  }
  // `_tcp.web.default.svc` is the parent of names that exist.
  if (inner.length === 1 && /^_(tcp|udp|sctp)$/.test(inner[0]!)) {
    const known = (spec?.ports ?? []).some(
      ({ name, protocol = 'TCP' }) => name && `_${protocol.toLowerCase()}` === inner[0],
    );
    return known ? empty : none;
  }
  return none;
}

function isAddress(ip: string | undefined): ip is string {
  return ip !== undefined && ip !== '' && ip !== 'None';
}

/** SRV records of the ports with a name and protocol; empty strings take all. */
function answerPorts(
  service: Service,
  portName: string,
  protocol: string,
  base: string,
  source: ZoneSource,
): ZoneAnswer {
  const wanted = (port: { name?: string; protocol?: string }) =>
    (portName === '' || port.name === portName) &&
    (protocol === '' || (port.protocol ?? 'TCP').toLowerCase() === protocol);
  const address = (data: string, name: string): ZoneRecord => ({ type: data.includes(':') ? 'AAAA' : 'A', data, name });
  const records: ZoneRecord[] = [];
  const additionals: ZoneRecord[] = [];
  const add = (port: number, target: string, weight: number) =>
    records.push({ type: 'SRV', data: { priority: 0, weight, port, target } });
  if (service.spec?.clusterIP === 'None') {
    const places = shuffled(placesOf(service, source));
    for (const { address: ip, label, ports } of places) {
      const target = `${label}.${base}`;
      const matching = ports.filter(wanted);
      const weight = Math.floor(100 / Math.max(1, places.length)) || 1;
      for (const { port } of matching) add(port, target, weight);
      if (matching.length > 0) additionals.push(address(ip, target));
    }
  } else {
    const matching = (service.spec?.ports ?? []).filter(wanted);
    for (const { port } of matching) add(port, base, Math.floor(100 / matching.length) || 1);
    if (matching.length > 0) {
      for (const ip of (service.spec?.clusterIPs ?? [service.spec?.clusterIP]).filter(isAddress))
        additionals.push(address(ip, base));
    }
  }
  if (records.length > 0) return { kind: 'records', records, additionals };
  const named = (service.spec?.ports ?? []).some(wanted);
  return portName === '' || named ? empty : none;
}

function placesOf(service: Service, source: ZoneSource): Place[] {
  const slices = source.slices(service.metadata.namespace ?? '', service.metadata.name);
  return slices.flatMap((slice) => {
    if (slice.addressType === 'FQDN') return [];
    const ports = (slice.ports ?? []).flatMap(({ name = '', protocol = 'TCP', port }) =>
      port ? [{ name, protocol, port }] : [],
    );
    return (slice.endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready !== false)
      .flatMap((endpoint) =>
        endpoint.addresses.map((address) => ({ address, label: endpointLabel(endpoint, address), ports })),
      );
  });
}

/** The name of an endpoint under its Service: its hostname, or its address with dashes. */
export function endpointLabel(endpoint: Endpoint, address: string): string {
  return endpoint.hostname || address.replaceAll(/[.:]/g, '-');
}

function answerReverse(name: string, type: string, source: ZoneSource): ZoneAnswer {
  const address = addressOfReverse(name);
  const names = address ? source.namesOf(address) : [];
  if (names.length === 0) return { kind: 'elsewhere' };
  return type === 'PTR' || type === 'ANY' ? only(...names.map((data): ZoneRecord => ({ type: 'PTR', data }))) : empty;
}

/** The address that a name under in-addr.arpa or ip6.arpa stands for; IPv6 in full form. */
export function addressOfReverse(name: string): string | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const parts = name.slice(0, -'.in-addr.arpa'.length).split('.').reverse();
    return parts.length === 4 ? parts.join('.') : undefined;
  }
  const digits = name.slice(0, -'.ip6.arpa'.length).split('.').reverse();
  return digits.length === 32 ? fullV6(digits.join('').replace(/(.{4})(?=.)/g, '$1:')) : undefined;
}

/** An IPv6 address with all its digits, so that two ways of writing it are the same text. IPv4 stays as it is. */
export function fullV6(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.toLowerCase().split('::');
  const groups = (part: string | undefined) => (part ? part.split(':') : []);
  const missing = tail === undefined ? 0 : 8 - groups(head).length - groups(tail).length;
  return [...groups(head), ...Array<string>(Math.max(0, missing)).fill('0'), ...groups(tail)]
    .map((group) => group.padStart(4, '0'))
    .join(':');
}

/** The same in random order: clients that take the first spread over all. */
export function shuffled<T>(list: readonly T[], random: () => number = Math.random): T[] {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

import { readFile } from 'node:fs/promises';
import type { Pod } from '../../api/index.ts';

/** What a resolv.conf says. */
export interface Resolver {
  servers: string[];
  searches: string[];
  options: string[];
}

/** The most that resolvers read. */
const limits = { servers: 3, searches: 32, searchCharacters: 2048 };

/** Reads a resolv.conf; an empty path or a missing file says nothing. */
export async function readResolver(path: string): Promise<Resolver> {
  const text = path ? await readFile(path, 'utf8').catch(() => '') : '';
  const resolver: Resolver = { servers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const [word, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver' && values[0]) resolver.servers.push(values[0]);
    else if (word === 'search')
      resolver.searches = values.filter((value) => value !== '.').map((value) => value.replace(/\.$/, ''));
    else if (word === 'domain' && resolver.searches.length === 0) resolver.searches = values.slice(0, 1);
    else if (word === 'options') resolver.options = values;
  }
  return resolver;
}

/**
 * The resolver of a pod by its dnsPolicy and dnsConfig.
 * @returns also the warnings that users are told of, as events: reason and message
 */
export function podResolver(
  pod: Pod,
  host: Resolver,
  cluster: { servers: string[]; domain: string },
): { resolver: Resolver; warnings: { reason: string; message: string }[] } {
  const spec = pod.spec!;
  const warnings: { reason: string; message: string }[] = [];
  let policy = spec.dnsPolicy ?? 'ClusterFirst';
  if (policy === 'ClusterFirst' && spec.hostNetwork) policy = 'Default';
  if (policy === 'ClusterFirstWithHostNet') policy = 'ClusterFirst';
  let base: Resolver;
  if (policy === 'None') base = { servers: [], searches: [], options: [] };
  else if (policy === 'ClusterFirst' && cluster.servers.length > 0) {
    const { domain } = cluster;
    const own = domain ? [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain] : [];
    base = { servers: cluster.servers, searches: [...own, ...host.searches], options: ['ndots:5'] };
  } else {
    if (policy === 'ClusterFirst') {
      const text = `pod: "${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})". kubelet does not have ClusterDNS IP configured and cannot create Pod using "${spec.dnsPolicy}" policy. Falling back to "Default" policy.`;
      warnings.push({ reason: 'MissingClusterDNS', message: text });
    }
    base = host;
  }
  const merged: Resolver = {
    servers: unique([...base.servers, ...(spec.dnsConfig?.nameservers ?? [])]),
    searches: unique([...base.searches, ...(spec.dnsConfig?.searches ?? [])]),
    options: mergeOptions(base.options, spec.dnsConfig?.options ?? []),
  };
  return { resolver: fitLimits(merged, warnings), warnings };
}

function unique(values: string[]): string[] {
  return [...new Set(values)];
}

function mergeOptions(base: string[], own: { name?: string; value?: string }[]): string[] {
  const options = new Map(base.map((option) => [option.split(':')[0]!, option]));
  for (const { name, value } of own)
    if (name) options.set(name, value !== undefined && value !== '' ? `${name}:${value}` : name);
  return [...options.values()];
}

function fitLimits(resolver: Resolver, warnings: { reason: string; message: string }[]): Resolver {
  const { servers } = resolver;
  const searches = [...resolver.searches];
  while (searches.length > limits.searches || searches.join(' ').length > limits.searchCharacters) searches.pop();
  if (searches.length < resolver.searches.length) {
    const message = `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${searches.join(' ')}`;
    warnings.push({ reason: 'DNSConfigForming', message });
  }
  if (servers.length > limits.servers) {
    const message = `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${servers.slice(0, limits.servers).join(' ')}`;
    warnings.push({ reason: 'DNSConfigForming', message });
  }
  return { servers: servers.slice(0, limits.servers), searches, options: resolver.options };
}

import type { BackendOptions, PodDetector } from './backends/backend.ts';
import type { ProxySettings } from './configuration.ts';
import type { IpFamily } from './model/types.ts';
import type { NodeFacts } from './node-facts.ts';

/** What a backend is told, from the settings and from what is known of the node and the cluster. */
export function backendOptions(
  settings: ProxySettings,
  node: NodeFacts,
  family: IpFamily,
  serviceCidrs: readonly string[] = [],
): BackendOptions {
  const { masqueradeAll, masqueradeBit, localhostNodePorts, ipvs } = settings;
  return {
    family,
    pods: podDetector(settings, node, family),
    masqueradeAll,
    masqueradeBit,
    localhostNodePorts,
    nodePortAddresses: nodePortPrefixes(settings, node, family),
    serviceCidrs: serviceCidrs.filter((cidr) => isOf(cidr, family)),
    ipvs,
  };
}

/**
 * Prefixes of node addresses that take node ports, of one family; empty: all. As upstream, a family of which none is named
 * takes all.
 */
export function nodePortPrefixes(
  { nodePortAddresses, nodeAddress }: ProxySettings,
  node: NodeFacts,
  family: IpFamily,
): string[] {
  const own = primaryAddresses(node, nodeAddress).map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
  const prefixes = nodePortAddresses
    .flatMap((one) => (one === 'primary' ? own : [one]))
    .filter((one) => isOf(one, family));
  return prefixes.some((one) => one.endsWith('/0')) ? [] : prefixes;
}

/** The node's own address of each family: what the configuration says before what the Node object says. */
export function primaryAddresses(node: NodeFacts, override: string | undefined): string[] {
  const given = override === undefined ? [] : [override];
  const firsts = ([4, 6] as const).flatMap((family) => {
    const found = [...given, ...node.addresses].find((address) => isOf(address, family));
    return found === undefined ? [] : [found];
  });
  return firsts.filter((address) => !/^(127\.|::1$)/.test(address));
}

function podDetector({ detectLocal }: ProxySettings, node: NodeFacts, family: IpFamily): PodDetector {
  const cidrs =
    detectLocal.kind === 'node-cidr' ? node.podCidrs : detectLocal.kind === 'cidr' ? detectLocal.cidrs : undefined;
  if (!cidrs) return detectLocal as PodDetector;
  const ofFamily = cidrs.filter((cidr) => isOf(cidr, family));
  return ofFamily.length > 0 ? { kind: 'cidr', cidrs: ofFamily } : { kind: 'none' };
}

function isOf(address: string, family: IpFamily): boolean {
  return address.includes(':') === (family === 6);
}

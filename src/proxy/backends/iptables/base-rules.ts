import type { BackendOptions } from '../backend.ts';
import { chains, comment, type Rule, type RuleSet } from './rules.ts';

/** The rules that do not depend on Services: jumps into our chains, masquerading, forwarding. */
export function baseRules(options: BackendOptions): RuleSet {
  const bit = `0x${((1 << options.masqueradeBit) >>> 0).toString(16)}`;
  const rules: Rule[] = [
    { table: 'nat', chain: chains.markMasquerade, text: `-j MARK --set-xmark ${bit}/${bit}` },
    { table: 'nat', chain: chains.postrouting, text: `-m mark ! --mark ${bit}/${bit} -j RETURN` },
    { table: 'nat', chain: chains.postrouting, text: `-j MARK --set-xmark ${bit}/0x0` },
    {
      table: 'nat',
      chain: chains.postrouting,
      text: `${comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
    },
    { table: 'filter', chain: chains.forward, text: '-m conntrack --ctstate INVALID -j DROP' },
    {
      table: 'filter',
      chain: chains.forward,
      text: `${comment('kubernetes forwarding rules')} -m mark --mark ${bit}/${bit} -j ACCEPT`,
    },
    {
      table: 'filter',
      chain: chains.forward,
      text: `${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    },
  ];
  if (options.localhostNodePorts && options.family === 4)
    rules.push({
      table: 'filter',
      chain: chains.firewall,
      text: `! -s 127.0.0.0/8 -d 127.0.0.0/8 ${comment('block incoming localnet connections')} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
    });
  return { rules, chains: baseChainNames(options) };
}

/** Our fixed chains, by table. */
function baseChainNames(options: BackendOptions): RuleSet['chains'] {
  const filter: string[] = [chains.services, chains.external, chains.nodePorts, chains.forward, chains.proxyFirewall];
  if (options.localhostNodePorts && options.family === 4) filter.push(chains.firewall);
  return [
    ...[chains.services, chains.nodePorts, chains.postrouting, chains.markMasquerade].map((name) => ({
      table: 'nat' as const,
      name,
    })),
    ...filter.map((name) => ({ table: 'filter' as const, name })),
  ];
}

/** The rules in chains that are not ours; put in front, so the last one comes first. */
export function jumpRules(options: BackendOptions): Rule[] {
  const fresh = (chain: string, to: string, what: string): Rule => ({
    table: 'filter',
    chain,
    text: `-m conntrack --ctstate NEW ${comment(what)} -j ${to}`,
  });
  const portals = 'kubernetes service portals';
  const external = 'kubernetes externally-visible service portals';
  const firewall = 'kubernetes load balancer firewall';
  const rules: Rule[] = [
    fresh('INPUT', chains.external, external),
    {
      table: 'filter',
      chain: 'INPUT',
      text: `${comment('kubernetes health check service ports')} -j ${chains.nodePorts}`,
    },
    fresh('INPUT', chains.proxyFirewall, firewall),
    fresh('FORWARD', chains.external, external),
    fresh('FORWARD', chains.services, portals),
    { table: 'filter', chain: 'FORWARD', text: `${comment('kubernetes forwarding rules')} -j ${chains.forward}` },
    fresh('FORWARD', chains.proxyFirewall, firewall),
    // Upstream has no such jump: there the node's own packets to an external address without endpoints follow the routes.
    fresh('OUTPUT', chains.external, external),
    fresh('OUTPUT', chains.services, portals),
    fresh('OUTPUT', chains.proxyFirewall, firewall),
    { table: 'nat', chain: 'PREROUTING', text: `${comment(portals)} -j ${chains.services}` },
    { table: 'nat', chain: 'OUTPUT', text: `${comment(portals)} -j ${chains.services}` },
    { table: 'nat', chain: 'POSTROUTING', text: `${comment('kubernetes postrouting rules')} -j ${chains.postrouting}` },
  ];
  if (options.localhostNodePorts && options.family === 4)
    rules.push(
      { table: 'filter', chain: 'INPUT', text: `-j ${chains.firewall}` },
      { table: 'filter', chain: 'OUTPUT', text: `-j ${chains.firewall}` },
    );
  return rules;
}

/** The rules at the end of nat KUBE-SERVICES that lead to node ports. */
export function nodePortJumps(options: BackendOptions): Rule[] {
  const six = options.family === 6;
  const cidrs = options.nodePortAddresses.filter((cidr) => cidr.includes(':') === six);
  const text = comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain');
  const loopback = options.localhostNodePorts && !six ? '' : `! -d ${six ? '::1/128' : '127.0.0.0/8'} `;
  const rule = (match: string): Rule => ({
    table: 'nat',
    chain: chains.services,
    text: `${match}${text} -m addrtype --dst-type LOCAL -j ${chains.nodePorts}`,
  });
  if (options.nodePortAddresses.length === 0) return [rule(loopback)];
  return cidrs.map((cidr) => rule(`-d ${cidr} `));
}

import type { IptablesTable } from '../../../host/iptables/index.ts';

/** One rule. The text is what stands behind `-A CHAIN`, in the very form in which iptables-save prints it. */
export interface Rule {
  table: IptablesTable;
  chain: string;
  text: string;
}

/** Rules, with the chains that they need (also those that stay empty). */
export interface RuleSet {
  rules: Rule[];
  chains: { table: IptablesTable; name: string }[];
}

/** Names of the chains that all Services share. */
export const chains = {
  services: 'KUBE-SERVICES',
  external: 'KUBE-EXTERNAL-SERVICES',
  nodePorts: 'KUBE-NODEPORTS',
  postrouting: 'KUBE-POSTROUTING',
  markMasquerade: 'KUBE-MARK-MASQ',
  forward: 'KUBE-FORWARD',
  firewall: 'KUBE-FIREWALL',
  proxyFirewall: 'KUBE-PROXY-FIREWALL',
} as const;

/** Chains whose rules come one by one from many Services. Every other chain of ours is written as a whole. */
export const sharedChains: ReadonlySet<string> = new Set([
  `nat ${chains.services}`,
  `nat ${chains.nodePorts}`,
  `filter ${chains.services}`,
  `filter ${chains.external}`,
  `filter ${chains.nodePorts}`,
  `filter ${chains.proxyFirewall}`,
]);

/** Chains that the mode ipvs has under the same names: while that one runs they are its own. */
export const chainsOfIpvsToo: ReadonlySet<string> = new Set([
  `nat ${chains.services}`,
  `nat ${chains.postrouting}`,
  `nat ${chains.markMasquerade}`,
  `filter ${chains.forward}`,
  `filter ${chains.proxyFirewall}`,
]);

/** Whether a chain belongs to one Service or endpoint. */
export function isServiceChain(name: string): boolean {
  return /^KUBE-(SVC|SVL|EXT|FW|SEP)-/.test(name);
}

/** A comment match. Always quoted: the texts contain characters that iptables-save quotes. */
export function comment(text: string): string {
  return `-m comment --comment "${text}"`;
}

/** The chance of a `statistic` rule in the form in which the kernel gives it back: multiples of 2^-31. */
export function probability(chance: number): string {
  return (Math.round(chance * 0x80000000) / 0x80000000).toFixed(11);
}

import { isInPrefix } from '../../host/netlink/index.ts';
import { nodePortPrefixes } from '../backend-options.ts';
import type { ProxySettings } from '../configuration.ts';
import type { IpFamily } from '../model/types.ts';
import type { NodeFacts } from '../node-facts.ts';

/** Where servers listen that answer on the addresses of a family that take node ports: one place for all of them, or each. */
export function nodePortHosts(
  settings: ProxySettings,
  node: NodeFacts,
  family: IpFamily,
  addresses: () => readonly string[],
): string[] {
  const prefixes = nodePortPrefixes(settings, node, family);
  if (prefixes.length === 0) return [family === 4 ? '0.0.0.0' : '::'];
  return addresses().filter((address) => prefixes.some((prefix) => isInPrefix(address, prefix)));
}

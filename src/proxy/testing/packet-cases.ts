import { createHash } from 'node:crypto';
import type { PacketCase } from './packet-case.ts';
import { hosts, type SettingsName } from './packet-network.ts';
import { productCases, settingsCases } from './packet-product.ts';
import { singleCases } from './packet-singles.ts';
import type { ServiceCase } from './service-cases.ts';

/**
 * The table of packets: what must become of them, whatever the mode. The plan, the tracer and real packets are judged by
 * it. Cases that are a product are made as one, their outcomes stated by specification.ts; the others are said by hand.
 */
export const packetCases: readonly PacketCase[] = [...singleCases, ...settingsCases(), ...productCases()];

/** The Services of these cases, each once. */
export function servicesOf(cases: readonly PacketCase[]): ServiceCase[] {
  return [...new Map(cases.map((one) => [one.service.number, one.service])).values()];
}

/** The cases under each of the settings. */
export function bySettings(cases: readonly PacketCase[]): Map<SettingsName, PacketCase[]> {
  return Map.groupBy(cases, (one) => one.settings);
}

/**
 * A spread of the table for a run that must be short: every case that is said by hand, and of the others so many that
 * every two features (a caller and an address, a policy and a family, …) meet in at least one.
 */
export function spreadOf(cases: readonly PacketCase[]): PacketCase[] {
  const byHand = new Set<PacketCase>(singleCases);
  const chosen = cases.filter((one) => byHand.has(one));
  const met = new Set<string>();
  const order = (one: PacketCase) => createHash('sha1').update(one.name).digest('hex');
  const rest = cases.filter((one) => !byHand.has(one)).map((one) => [order(one), one] as const);
  rest.sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [, one] of rest) {
    const pairs = pairsOf(one);
    if (pairs.every((pair) => met.has(pair))) continue;
    for (const pair of pairs) met.add(pair);
    chosen.push(one);
  }
  return chosen;
}

function pairsOf({ settings, service, family, from, to, protocol }: PacketCase): string[] {
  const place = `${to.address} ${to.port}`;
  const caller = settings === 'standard' ? settings : `${settings}, from ${from}`;
  const features = [caller, `service ${service.number}`, `IPv${family}`, `from ${from}`, place, protocol];
  return features.flatMap((one, index) => features.slice(index + 1).map((other) => `${one}, ${other}`));
}

/** Addresses of the first family, for tests with a table of their own. */
export { endpointPort, nodeName } from './packet-network.ts';
export const clusterCidr = '10.244.0.0/16';
export const endpointAddresses = { p1: hosts.p1[4], p2: hosts.p2[4], r1: hosts.r1[4] } as const;
/** One of {@link endpointAddresses}. */
export type EndpointName = keyof typeof endpointAddresses;

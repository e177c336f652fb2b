import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix } from '../../host/netlink/index.ts';
import { readEndpoints, serviceOf } from '../model/endpoints.ts';
import { readService } from '../model/service.ts';
import type { IpFamily } from '../model/types.ts';
import { answeringPort, isMasqueraded, type PacketCase, targetOf } from '../testing/packet-case.ts';
import { bySettings, packetCases, servicesOf } from '../testing/packet-cases.ts';
import {
  addressOf,
  backendOptions,
  hosts,
  linkOf,
  nodeName,
  nodeZone,
  type SettingsName,
} from '../testing/packet-network.ts';
import { serviceObject, sliceObjects } from '../testing/service-cases.ts';
import { decide } from './decide.ts';
import { planService } from './plan-service.ts';
import { PlanTable } from './plan-table.ts';
import type { Source } from './types.ts';

const topology = { nodeName, zone: nodeZone };

/** The plans of the Services of all cases, in one family. */
function tableOf(cases: readonly PacketCase[], family: IpFamily): PlanTable {
  const table = new PlanTable();
  for (const one of servicesOf(cases)) {
    const model = readService(serviceObject(one), family);
    const slices = sliceObjects(one).filter((slice) => serviceOf(slice) !== undefined);
    if (model) table.update(model.key, planService(model, readEndpoints(slices, family, nodeName), topology));
  }
  return table;
}

/** What the plan says of a packet, in the words of the table. */
function decided(table: PlanTable, one: PacketCase): string {
  const { address, port } = targetOf(one);
  if (one.protocol === 'ICMP') return 'no-answer';
  const found =
    table.find(address, one.protocol, port) ??
    (takesNodePorts(one, address) ? table.find('', one.protocol, port) : undefined);
  if (!found) return 'not in the plan';
  const { plan, frontend } = found;
  const source = sourceOf(one);
  const options = backendOptions(one.settings, one.family);
  const rules = { all: options.masqueradeAll, detectsPods: options.pods.kind !== 'none' };
  const decision = decide(plan, frontend, source, rules);
  const ranges = frontend.sourceRanges;
  const from = addressOf(one.from, one.family);
  if (decision.action !== 'reject' && ranges.length > 0 && !ranges.some((range) => contains(range, from)))
    return 'drop';
  if (decision.action !== 'send') return decision.action;
  const sticky = plan.affinitySeconds > 0 ? ', sticky' : '';
  const to = decision.to.map((endpoint) => {
    const itself = endpoint.local && endpoint.address === from;
    return `${endpoint.address} ${endpoint.port}${decision.masquerade || itself ? ' masqueraded' : ''}`;
  });
  return `${to.sort().join(', ')}${sticky}`;
}

/** What the table says, in the same words. */
function promised(one: PacketCase): string {
  const { outcome, family } = one;
  if (typeof outcome === 'string') return outcome;
  const to = outcome.to.map((name) => {
    if (name === 'node') return 'node';
    return `${hosts[name][family]} ${answeringPort(one, name)}${isMasqueraded(one, name) ? ' masqueraded' : ''}`;
  });
  return `${to.sort().join(', ')}${outcome.sticky ? ', sticky' : ''}`;
}

function sourceOf(one: PacketCase): Source {
  if (one.from === 'node' || one.from === 'loopback') return 'node';
  const { pods } = backendOptions(one.settings, one.family);
  const from = addressOf(one.from, one.family);
  if (pods.kind === 'cidr') return pods.cidrs.some((cidr) => contains(cidr, from)) ? 'pod' : 'outside';
  if (pods.kind === 'bridge') return linkOf(one.from) === pods.name ? 'pod' : 'outside';
  return pods.kind === 'interface-prefix' && linkOf(one.from).startsWith(pods.prefix) ? 'pod' : 'outside';
}

/** Which addresses take node ports is not in the plan, but in the options that backends get. */
function takesNodePorts(one: PacketCase, address: string): boolean {
  const { nodePortAddresses, localhostNodePorts } = backendOptions(one.settings, one.family);
  if (one.to.address === 'loopback') return localhostNodePorts && one.family === 4;
  if (!['node', 'other-node-address', 'gateway'].includes(one.to.address)) return false;
  return nodePortAddresses.length === 0 || nodePortAddresses.some((range) => contains(range, address));
}

function contains(range: string, address: string): boolean {
  if (range.includes(':') !== address.includes(':')) return false;
  const { bytes, prefixLength } = parsePrefix(range);
  const bits = (value: Buffer) => [...value].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return bits(bytes).slice(0, prefixLength) === bits(parsePrefix(address).bytes).slice(0, prefixLength);
}

for (const [name, cases] of bySettings(packetCases) as Map<SettingsName, PacketCase[]>)
  test(`the plan sends every packet where it must go: ${name}, ${cases.length} cases`, () => {
    const tables = { 4: tableOf(cases, 4), 6: tableOf(cases, 6) };
    const wrong: string[] = [];
    for (const one of cases) {
      const said = decided(tables[one.family], one);
      // What the plan does not know gets no answer from it: refusing and dropping are for the backends.
      if (said === 'not in the plan' && (typeof one.outcome === 'string' || one.outcome.to.includes('node'))) continue;
      if (said !== promised(one)) wrong.push(`${one.name}\n  promised: ${promised(one)}\n  the plan: ${said}`);
    }
    assert.equal(wrong.length, 0, `${wrong.length} cases go elsewhere:\n${wrong.slice(0, 20).join('\n')}`);
  });

test('no two cases have one name, and no two Services one number', () => {
  assert.equal(new Set(packetCases.map((one) => one.name)).size, packetCases.length);
  const numbers = new Map<number, unknown>();
  for (const { service } of packetCases) {
    assert.equal(numbers.get(service.number) ?? service, service, service.name);
    numbers.set(service.number, service);
  }
});

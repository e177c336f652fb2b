import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEndpoints, serviceOf } from '../model/endpoints.ts';
import { readService } from '../model/service.ts';
import type { IpFamily, Protocol } from '../model/types.ts';
import { planService } from '../plan/plan-service.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { answeringPort, isMasqueraded, type PacketCase, targetOf } from '../testing/packet-case.ts';
import { bySettings, packetCases, servicesOf, spreadOf } from '../testing/packet-cases.ts';
import {
  addressOf,
  backendOptions,
  gateways,
  hosts,
  linkOf,
  loopbacks,
  nodeAddresses,
  nodeName,
  nodeZone,
  otherNodeAddresses,
} from '../testing/packet-network.ts';
import { serviceObject, sliceObjects } from '../testing/service-cases.ts';
import { addressWithPort, type TraceableRules, type TracedPacket } from './packet.ts';
import { renderedRules } from './rendered-rules.ts';
import { tracePacket } from './trace-packet.ts';

const own = [nodeAddresses, otherNodeAddresses, gateways, loopbacks].flatMap((each) => [each[4], each[6]]) as string[];
const node = { isLocal: (address: string) => own.includes(address) };

function plansOf(cases: readonly PacketCase[], family: IpFamily): ServicePortPlan[] {
  return servicesOf(cases).flatMap((one) => {
    const model = readService(serviceObject(one), family);
    const slices = sliceObjects(one).filter((slice) => serviceOf(slice) !== undefined);
    return model ? planService(model, readEndpoints(slices, family, nodeName), { nodeName, zone: nodeZone }) : [];
  });
}
function packetOf(one: PacketCase): TracedPacket {
  const { address, port } = targetOf(one);
  return {
    family: one.family,
    protocol: one.protocol as Protocol,
    source: addressOf(one.from, one.family),
    destination: address,
    destinationPort: port,
    inputInterface: linkOf(one.from),
  };
}

/** What is wrong with the ways of a packet; undefined: nothing. */
function mistake(rules: TraceableRules, one: PacketCase): string | undefined {
  const { ways } = tracePacket(rules, packetOf(one), node);
  const verdicts = [...new Set(ways.map((way) => way.verdict))].join();
  const { outcome } = one;
  if (outcome === 'reject') return verdicts === 'rejected' ? undefined : verdicts;
  // What the rules leave alone and no route leads to is dropped too.
  if (outcome === 'drop')
    return verdicts === 'dropped' || (verdicts === 'untouched' && one.to.address === 'unallocated')
      ? undefined
      : verdicts;
  if (outcome === 'no-answer') return verdicts === 'sent' ? verdicts : undefined;
  if (outcome.to.includes('node')) return verdicts === 'untouched' ? undefined : verdicts;
  const seen = ways.map((way) => `${way.to}${way.masqueraded ? ' masqueraded' : ''} ${way.probability.toFixed(4)}`);
  const wanted = outcome.to.map((name) => {
    const to = addressWithPort(hosts[name as 'p1'][one.family], answeringPort(one, name));
    return `${to}${isMasqueraded(one, name) ? ' masqueraded' : ''} ${(1 / outcome.to.length).toFixed(4)}`;
  });
  if (seen.sort().join() !== wanted.sort().join()) return seen.join() || verdicts;
  if (!outcome.sticky) return undefined;
  const name = outcome.to.at(-1)!;
  const stayedWith = addressWithPort(hosts[name as 'p1'][one.family], answeringPort(one, name));
  const again = tracePacket(rules, { ...packetOf(one), stayedWith }, node).ways;
  const [way] = again;
  return again.length === 1 && way!.to === stayedWith && way!.stayed ? undefined : 'the client does not stay';
}

/** Rules of iptables are a list: walking through it takes its time, and a spread of the cases has to do. */
const tried = { nftables: packetCases, iptables: spreadOf(packetCases) };

for (const mode of ['nftables', 'iptables'] as const) {
  for (const [settings, cases] of bySettings(tried[mode]))
    test(`${mode}: the rendered rules do with every packet what must happen: ${settings}, ${cases.length} cases`, () => {
      const wrong: string[] = [];
      for (const family of [4, 6] as const) {
        const rules = renderedRules(mode, plansOf(cases, family), backendOptions(settings, family));
        for (const one of cases) {
          if (one.family !== family || one.protocol === 'ICMP') continue;
          // A port of a cluster IP that no Service has: iptables has no rule about it, the packet follows the routes.
          if (mode === 'iptables' && one.to.address === 'cluster-ip' && one.to.port !== 'service') continue;
          const said = mistake(rules, one);
          if (said !== undefined)
            wrong.push(`${one.name}\n  promised: ${JSON.stringify(one.outcome)}\n  traced: ${said}`);
        }
      }
      assert.equal(wrong.length, 0, `${wrong.length} cases go elsewhere:\n${wrong.slice(0, 30).join('\n')}`);
    });

  test(`${mode}: what is no address of a Service passes untouched`, () => {
    const one = packetCases.find((other) => other.settings === 'standard' && other.family === 4)!;
    const rules = renderedRules(mode, plansOf([one], 4), backendOptions('standard', 4));
    const { ways } = tracePacket(rules, { ...packetOf(one), destination: '192.168.50.2' }, node);
    assert.deepEqual(
      ways.map(({ verdict, probability, to }) => ({ verdict, probability, to })),
      [{ verdict: 'untouched', probability: 1, to: undefined }],
    );
  });
}

test('nftables: a port that no Service has is refused', () => {
  const one = packetCases.find((other) => other.to.port === 'unused' && other.family === 4)!;
  const rules = renderedRules('nftables', plansOf([one], 4), backendOptions('standard', 4));
  const { ways } = tracePacket(rules, packetOf(one), node);
  assert.deepEqual(
    ways.map((way) => way.verdict),
    ['rejected'],
  );
  assert.equal(ways[0]!.steps.at(-1)!.rule, 'port that no service has');
});

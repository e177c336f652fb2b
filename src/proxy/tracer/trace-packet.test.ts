import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendOptions } from '../backends/backend.ts';
import { readEndpoints } from '../model/endpoints.ts';
import { readService } from '../model/service.ts';
import { planService } from '../plan/plan-service.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import {
  clusterCidr,
  endpointAddresses,
  endpointPort,
  nodeName,
  objectsOf,
  type PacketCase,
  packetCases,
  targetOf,
} from '../testing/packet-cases.ts';
import { addressWithPort, type TraceableRules, type TracedPacket } from './packet.ts';
import { renderedRules } from './rendered-rules.ts';
import { tracePacket } from './trace-packet.ts';

const nodeAddress = '192.168.50.1';
const node = { isLocal: (address: string) => ['127.0.0.1', nodeAddress, '10.244.0.1'].includes(address) };
const options: BackendOptions = {
  family: 4,
  pods: { kind: 'cidr', cidrs: [clusterCidr] },
  masqueradeAll: false,
  masqueradeBit: 14,
  nodePortAddresses: [],
  localhostNodePorts: false,
};
const sources = { ...endpointAddresses, client: '10.244.0.10', node: nodeAddress, outside: '192.168.50.2' };

function planOf(one: PacketCase, index: number): ServicePortPlan[] {
  const { service, slice } = objectsOf(one, index);
  return planService(readService(service, 4)!, readEndpoints([slice], 4, nodeName), { nodeName, zone: '' });
}
function packetOf(one: PacketCase, index: number): TracedPacket {
  const { address, port } = targetOf(one, index, nodeAddress);
  return {
    family: 4,
    protocol: one.protocol,
    source: sources[one.from],
    destination: address,
    destinationPort: port,
    inputInterface: one.from === 'node' ? '' : `v-${one.from}`,
  };
}

for (const mode of ['nftables', 'iptables'] as const) {
  const rules = (plans: ServicePortPlan[]): TraceableRules => renderedRules(mode, plans, options);
  test(`${mode}: the rendered rules do with every packet of the table what must happen`, async (t) => {
    const everything = rules(packetCases.flatMap(planOf));
    for (const [index, one] of packetCases.entries())
      await t.test(one.name, () => {
        const { ways } = tracePacket(everything, packetOf(one, index), node);
        const { outcome } = one;
        const said = JSON.stringify(ways, undefined, 1);
        if (typeof outcome === 'string') {
          assert.deepEqual(
            ways.map((way) => way.verdict),
            [outcome === 'reject' ? 'rejected' : 'dropped'],
            said,
          );
          return;
        }
        const to = outcome.to.map((name) => addressWithPort(endpointAddresses[name], endpointPort));
        assert.deepEqual(ways.map((way) => way.to).sort(), to.sort(), said);
        for (const way of ways) {
          assert.ok(Math.abs(way.probability - 1 / to.length) < 1e-6, said);
          assert.equal(way.masqueraded, outcome.masquerade, said);
        }
        if (!outcome.sticky) return;
        const stayedWith = to.at(-1)!;
        const again = tracePacket(everything, { ...packetOf(one, index), stayedWith }, node).ways;
        assert.deepEqual(
          again.map((way) => [way.to, way.probability, way.stayed]),
          [[stayedWith, 1, true]],
        );
      });
  });

  test(`${mode}: what is no address of a Service passes untouched`, () => {
    const everything = rules(packetCases.flatMap(planOf));
    const packet = { ...packetOf(packetCases[0]!, 0), destination: '192.168.50.2' };
    const { ways } = tracePacket(everything, packet, node);
    assert.deepEqual(
      ways.map(({ verdict, probability, to }) => ({ verdict, probability, to })),
      [{ verdict: 'untouched', probability: 1, to: undefined }],
    );
  });
}

test('nftables: a port that no Service has is refused', () => {
  const everything = renderedRules('nftables', packetCases.flatMap(planOf), options);
  const packet = { ...packetOf(packetCases[0]!, 0), destinationPort: 81 };
  const { ways } = tracePacket(everything, packet, node);
  assert.deepEqual(
    ways.map((way) => way.verdict),
    ['rejected'],
  );
  assert.equal(ways[0]!.steps.at(-1)!.rule, 'port that no service has');
});

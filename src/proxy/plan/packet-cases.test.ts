import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEndpoints } from '../model/endpoints.ts';
import { readService } from '../model/service.ts';
import {
  endpointAddresses,
  nodeName,
  objectsOf,
  type PacketCase,
  packetCases,
  targetOf,
} from '../testing/packet-cases.ts';
import { decide } from './decide.ts';
import { planService } from './plan-service.ts';
import { PlanTable } from './plan-table.ts';
import type { Source } from './types.ts';

const sourceOf = (from: PacketCase['from']): Source => (from === 'node' || from === 'outside' ? from : 'pod');

test('the plan sends every packet of the table where it must go', async (t) => {
  for (const [index, one] of packetCases.entries())
    await t.test(one.name, () => {
      const { service, slice } = objectsOf(one, index);
      const model = readService(service, 4)!;
      const table = new PlanTable();
      table.update(model.key, planService(model, readEndpoints([slice], 4, nodeName), { nodeName, zone: '' }));
      const { address, port } = targetOf(one, index, '');
      const { plan, frontend } = table.find(address, one.protocol, port)!;
      if (one.outcome === 'drop' && frontend.sourceRanges.length > 0) {
        assert.deepEqual(frontend.sourceRanges, ['10.9.0.0/16']);
        return;
      }
      const decision = decide(plan, frontend, sourceOf(one.from), { all: false, detectsPods: true });
      if (typeof one.outcome === 'string') return assert.equal(decision.action, one.outcome);
      assert.equal(decision.action, 'send');
      if (decision.action !== 'send') return;
      assert.deepEqual(
        decision.to.map((to) => to.address),
        one.outcome.to.map((name) => endpointAddresses[name]),
      );
      // A pod that reaches itself is masqueraded after the plan, by a rule about source and destination.
      const itself = one.from === 'p1' && one.outcome.to.includes('p1');
      assert.equal(decision.masquerade || itself, one.outcome.masquerade);
      assert.equal(plan.affinitySeconds > 0, one.outcome.sticky ?? false);
    });
});

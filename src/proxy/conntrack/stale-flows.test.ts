import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flow } from '../../host/conntrack/index.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { isStale, targetsOfChanges } from './stale-flows.ts';

const plan = (...to: string[]): ServicePortPlan => ({
  name: 'a/dns:udp',
  service: 'a/dns',
  protocol: 'UDP',
  affinitySeconds: 0,
  cluster: to.map((address) => ({ address, port: 53, local: false })),
  local: [],
  frontends: [
    { kind: 'cluster-ip', address: '10.96.0.10', protocol: 'UDP', port: 53, policy: 'cluster', sourceRanges: [] },
    { kind: 'node-port', address: '', protocol: 'UDP', port: 30053, policy: 'cluster', sourceRanges: [] },
  ],
});
const flow = (destination: string, port: number, answers: string): Flow => ({
  family: 4,
  protocol: 17,
  original: { source: '10.244.0.5', destination, sourcePort: 4000, destinationPort: port },
  reply: { source: answers, destination: '10.244.0.5', sourcePort: 53, destinationPort: 4000 },
  handle: { tuple: Buffer.alloc(0) },
});
const isNode = (address: string) => address === '192.168.1.1';

test('flows to endpoints that are gone are stale, others are not', () => {
  const targets = targetsOfChanges([{ key: 'k', before: plan('10.244.0.7', '10.244.0.8'), after: plan('10.244.0.8') }]);
  assert.equal(isStale(flow('10.96.0.10', 53, '10.244.0.7'), targets, isNode), true);
  assert.equal(isStale(flow('10.96.0.10', 53, '10.244.0.8'), targets, isNode), false);
  assert.equal(isStale(flow('192.168.1.1', 30053, '10.244.0.7'), targets, isNode), true);
  assert.equal(isStale(flow('8.8.8.8', 30053, '8.8.8.8'), targets, isNode), false, 'not an address of the node');
  assert.equal(isStale(flow('10.96.0.11', 53, '10.244.0.7'), targets, isNode), false, 'another service');
});

test('after scale to zero and deletion every flow is stale, also one that was never translated', () => {
  for (const after of [plan(), undefined]) {
    const targets = targetsOfChanges([{ key: 'k', before: plan('10.244.0.7'), after }]);
    assert.equal(isStale(flow('10.96.0.10', 53, '10.244.0.7'), targets, isNode), true);
    assert.equal(isStale(flow('10.96.0.10', 53, '10.96.0.10'), targets, isNode), true);
  }
});

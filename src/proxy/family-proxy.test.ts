import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../async/index.ts';
import { createLogger } from '../log/index.ts';
import type { Backend } from './backends/backend.ts';
import { FamilyProxy } from './family-proxy.ts';
import type { EndpointModel, ServiceModel } from './model/types.ts';
import { planKey } from './plan/plan-table.ts';
import type { PlanChange, ServicePortPlan } from './plan/types.ts';

/** A kernel that holds plans, and refuses those of some Services. */
class PickyBackend implements Backend {
  readonly mode = 'nftables' as const;
  readonly held = new Map<string, ServicePortPlan>();
  readonly refused = new Set<string>();
  async adopt(plans: readonly ServicePortPlan[]) {
    for (const plan of plans) this.#check(plan);
    this.held.clear();
    for (const plan of plans) this.held.set(planKey(plan), plan);
    return { written: plans.length, kept: 0 };
  }
  async apply(changes: readonly PlanChange[]) {
    for (const { after } of changes) if (after) this.#check(after);
    for (const { key, after } of changes)
      if (after) this.held.set(key, after);
      else this.held.delete(key);
    return { written: changes.length, kept: 0 };
  }
  async verify() {
    return true;
  }
  async remove() {}
  close() {}
  /** What it holds already it does not refuse. */
  #check(plan: ServicePortPlan): void {
    if (this.refused.has(plan.service) && this.held.get(planKey(plan)) !== plan)
      throw new Error(`${plan.service} is refused`);
  }
}

const service = (name: string, clusterIp: string): ServiceModel => ({
  key: `ns/${name}`,
  clusterIp,
  externalIps: [],
  loadBalancerIps: [],
  sourceRanges: [],
  internalPolicy: 'cluster',
  externalPolicy: 'cluster',
  affinitySeconds: 0,
  balance: undefined,
  healthCheckNodePort: 0,
  ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 0 }],
});
const endpoints = new Map<string, readonly EndpointModel[]>();

test('a Service that the kernel refuses holds up no other, is tried again from 100 ms on, and not in comparisons', async () => {
  const clock = new FakeClock();
  const backend = new PickyBackend();
  const proxy = new FamilyProxy({ family: 4, backend, clock, log: createLogger('test', () => {}) });
  const set = (name: string, clusterIp: string) =>
    proxy.update(`ns/${name}`, service(name, clusterIp), endpoints, { nodeName: 'n', zone: '' });
  set('bad', '10.0.0.1');
  set('good', '10.0.0.2');
  await proxy.flush();
  assert.equal(backend.held.size, 2);

  backend.refused.add('ns/bad');
  set('bad', '10.0.0.3');
  set('good', '10.0.0.4');
  const { applied, refused } = await proxy.flush();
  const names = (changes: readonly PlanChange[]) => changes.map(({ key }) => key);
  assert.deepEqual(names(applied), ['ns/good TCP']);
  assert.deepEqual(names(refused.map(({ change }) => change)), ['ns/bad TCP']);
  assert.equal(backend.held.get('ns/good TCP')?.frontends[0]?.address, '10.0.0.4');
  assert.equal(proxy.retryInMs, 100);

  await proxy.adopt();
  assert.equal(backend.held.get('ns/bad TCP')?.frontends[0]?.address, '10.0.0.1', 'what was there before stays');
  assert.deepEqual(proxy.refused, ['ns/bad TCP']);
  assert.deepEqual(await proxy.flush(), { applied: [], written: 0, refused: [] }, 'not before its time');
  await clock.advance(100);
  assert.equal((await proxy.flush()).refused.length, 1);
  assert.ok(proxy.retryInMs! > 100, 'longer each time');

  backend.refused.clear();
  await clock.advance(proxy.retryInMs!);
  assert.deepEqual(names((await proxy.flush()).applied), ['ns/bad TCP']);
  assert.equal(backend.held.get('ns/bad TCP')?.frontends[0]?.address, '10.0.0.3');
  assert.deepEqual(proxy.refused, []);
});

test('one that is refused at the start already is found, and the others are written', async () => {
  const clock = new FakeClock();
  const backend = new PickyBackend();
  const proxy = new FamilyProxy({ family: 4, backend, clock, log: createLogger('test', () => {}) });
  for (let index = 0; index < 100; index++) {
    const name = `s${index}`;
    proxy.update(`ns/${name}`, service(name, `10.0.1.${index}`), endpoints, { nodeName: 'n', zone: '' });
  }
  backend.refused.add('ns/s42');
  await assert.rejects(proxy.adopt(), /refused/, 'it may pass');
  await proxy.adopt();
  assert.equal(backend.held.size, 99);
  assert.deepEqual(proxy.refused, ['ns/s42 TCP']);
  assert.equal(proxy.retryInMs, 100);
  backend.refused.clear();
  await clock.advance(100);
  assert.equal((await proxy.flush()).applied.length, 1);
  assert.equal(backend.held.size, 100);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PlanTable } from './plan-table.ts';
import type { Frontend, ServicePortPlan } from './types.ts';

function plan(service: string, port: string, addresses: string[], to: string[] = ['10.0.0.1']): ServicePortPlan {
  const frontend = (address: string): Frontend => ({
    kind: 'external-ip',
    address,
    protocol: 'TCP',
    port: 80,
    policy: 'cluster',
    sourceRanges: [],
  });
  return {
    name: `${service}:${port}`,
    service,
    protocol: 'TCP',
    affinitySeconds: 0,
    cluster: to.map((address) => ({ address, port: 8080, local: false })),
    local: [],
    frontends: addresses.map(frontend),
  };
}

test('the first Service keeps an address, the second gets it when it is free', () => {
  const table = new PlanTable();
  table.update('a/one', [plan('a/one', 'p', ['1.1.1.1'])]);
  const { changes, conflicts } = table.update('a/two', [plan('a/two', 'p', ['1.1.1.1', '2.2.2.2'])]);
  assert.deepEqual(
    conflicts.map(({ service, owner }) => [service, owner]),
    [['a/two', 'a/one:p TCP']],
  );
  assert.deepEqual(
    changes[0]!.after!.frontends.map((one) => one.address),
    ['2.2.2.2'],
  );
  const freed = table.update('a/one', []);
  assert.deepEqual(
    freed.changes.map(({ key, after }) => [key, after?.frontends.length]),
    [
      ['a/one:p TCP', undefined],
      ['a/two:p TCP', 2],
    ],
  );
  assert.equal(table.find('1.1.1.1', 'TCP', 80)!.plan.service, 'a/two');
});

test('an address that moves between ports of one Service is no conflict', () => {
  const table = new PlanTable();
  table.update('a/one', [plan('a/one', 'p', ['1.1.1.1']), plan('a/one', 'q', [])]);
  const { changes, conflicts } = table.update('a/one', [plan('a/one', 'p', []), plan('a/one', 'q', ['1.1.1.1'])]);
  assert.equal(conflicts.length, 0);
  assert.deepEqual(
    changes.map(({ key }) => key),
    ['a/one:p TCP', 'a/one:q TCP'],
  );
});

test('what renders the same is no change', () => {
  const table = new PlanTable();
  table.update('a/one', [plan('a/one', 'p', ['1.1.1.1'])]);
  assert.equal(table.update('a/one', [plan('a/one', 'p', ['1.1.1.1'])]).changes.length, 0);
  assert.equal(table.update('a/one', [plan('a/one', 'p', ['1.1.1.1'], ['10.0.0.2'])]).changes.length, 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import type { Backend, ForeignChange } from '../backends/backend.ts';
import { FamilyProxy } from '../family-proxy.ts';
import { Healer } from './healer.ts';

function setUp() {
  const clock = new FakeClock();
  const log = createLogger('test', () => {});
  const looks: boolean[] = [];
  const repaired: [string, number][] = [];
  let tell: (change: ForeignChange) => void = () => {};
  const world = { differs: true, broken: false };
  const backend: Backend = {
    mode: 'nftables',
    adopt: async () => ({ written: 0, kept: 0 }),
    apply: async () => ({ written: 0, kept: 0 }),
    verify: async () => true,
    remove: async () => {},
    close: () => {},
    watch: (onForeignChange) => {
      tell = onForeignChange;
    },
    inspect: async (_plans, thorough) => {
      looks.push(thorough);
      if (world.broken) throw new Error('no answer');
      return world.differs ? { what: 'a chain', repair: async () => new Map([['nat', 2]]) } : undefined;
    },
  };
  const family = new FamilyProxy({ family: 4, backend, clock, log });
  const healer = new Healer({
    families: [family],
    clock,
    log,
    exclusive: (work) => work(),
    onRepaired: (_family, repairs) => void repaired.push(...repairs),
  });
  healer.watch(family);
  return { clock, healer, looks, repaired, world, tell: (change: ForeignChange = {}) => tell(change) };
}

test('several notices are one look, and what differs is counted by table', async () => {
  const { clock, looks, repaired, tell, healer } = setUp();
  for (let i = 0; i < 5; i++) tell();
  await clock.advance(50);
  await healer.settled();
  assert.deepEqual(looks, [false]);
  assert.deepEqual(repaired, [['nat', 2]]);
});

test('lost notices make the look a thorough one', async () => {
  const { clock, looks, tell, healer } = setUp();
  tell({ lost: true });
  await clock.advance(50);
  await healer.settled();
  assert.deepEqual(looks, [true]);
});

test('somebody who never gives up is followed more and more slowly', async () => {
  const { clock, looks, tell, healer } = setUp();
  for (let second = 0; second < 60; second++) {
    for (let step = 0; step < 10; step++) {
      tell();
      await clock.advance(100);
      await healer.settled();
    }
  }
  assert.ok(looks.length < 30, `${looks.length} looks within a minute`);
});

test('a look that fails is tried again, thoroughly', async () => {
  const { clock, looks, tell, world, healer } = setUp();
  world.broken = true;
  tell();
  await clock.advance(50);
  await healer.settled();
  world.broken = false;
  await clock.advance(1000);
  await healer.settled();
  assert.deepEqual(looks.slice(0, 2), [false, true]);
});

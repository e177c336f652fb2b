import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { amountIn, type EvictionFields, hardEvictionReservation, readThresholds } from './thresholds.ts';

const read = (fields: Partial<EvictionFields>) => readThresholds({ enforceNodeAllocatable: [], ...fields });

describe('eviction thresholds', () => {
  it('are the defaults, unless some are given; those that are not given may be kept', () => {
    assert.deepEqual(
      read({}).map(({ signal }) => signal),
      ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available', 'imagefs.inodesFree'],
    );
    const evictionHard = { 'pid.available': '10%' };
    assert.deepEqual(read({ evictionHard }), [{ signal: 'pid.available', value: { part: 0.1 }, graceMs: 0 }]);
    assert.equal(read({ evictionHard, mergeDefaultEvictionSettings: true }).length, 6);
  });

  it('have a grace period when they are soft, and may want more back than was missing', () => {
    const [soft] = read({
      evictionHard: { 'memory.available': '0%' },
      evictionSoft: { 'memory.available': '1Gi' },
      evictionSoftGracePeriod: { 'memory.available': '1m30s' },
      evictionMinimumReclaim: { 'memory.available': '500Mi' },
    });
    assert.deepEqual(soft, {
      signal: 'memory.available',
      value: { quantity: 2 ** 30 },
      graceMs: 90_000,
      minimumReclaim: { quantity: 500 * 2 ** 20 },
    });
  });

  it('hold for the memory of all pods, too, where those are held to what is allocatable', () => {
    const found = read({ enforceNodeAllocatable: ['pods'] }).find(({ signal }) => signal.startsWith('allocatable'));
    assert.deepEqual(found?.value, { quantity: 100 * 2 ** 20 });
  });

  it('that cannot be are refused by name', () => {
    const cases: [Partial<EvictionFields>, RegExp, string][] = [
      [{ evictionHard: { 'memory.free': '1Gi' } }, /must be one of memory\.available/, 'evictionHard.memory.free'],
      [{ evictionHard: { 'memory.available': '101%' } }, /between 0% and 100%/, 'evictionHard.memory.available'],
      [{ evictionHard: { 'memory.available': '0' } }, /must be positive/, 'evictionHard.memory.available'],
      [{ evictionSoft: { 'pid.available': '5%' } }, /must be set/, 'evictionSoftGracePeriod.pid.available'],
    ];
    for (const [fields, message, field] of cases) assert.throws(() => read(fields), { message, field });
  });

  it('keep memory and disk from pods', () => {
    const capacity = { memoryBytes: 1000, diskBytes: 2000 };
    const evictionHard = { 'memory.available': '10%', 'nodefs.available': '100' };
    const evictionSoft = { 'memory.available': '90%' };
    const fields = { evictionHard, evictionSoft, evictionSoftGracePeriod: { 'memory.available': '1s' } };
    assert.deepEqual(hardEvictionReservation(fields, capacity), { memoryBytes: 100, storageBytes: 100 });
    const softOnly = { ...fields, evictionHard: { 'memory.available': '0%' } };
    assert.deepEqual(hardEvictionReservation(softOnly, capacity), { memoryBytes: 0, storageBytes: 0 });
    assert.equal(amountIn({ part: 0.5 }, 11), 5);
  });
});

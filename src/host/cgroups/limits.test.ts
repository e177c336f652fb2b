import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitWrites, sharesToWeight } from './limits.ts';
import { parsePressure } from './usage.ts';

const asText = (writes: ReturnType<typeof limitWrites>) => writes.map(({ file, value }) => `${file}=${value}`);

test('the same limits in the files of both versions', () => {
  const limits = { cpuShares: 1024, cpuQuotaUs: 50_000, cpuPeriodUs: 100_000, memoryBytes: 64 << 20, pids: -1 };
  assert.deepEqual(asText(limitWrites(limits, false)), [
    'cpu.shares=1024',
    'cpu.cfs_period_us=100000',
    'cpu.cfs_quota_us=50000',
    'memory.limit_in_bytes=67108864',
    'pids.max=max',
  ]);
  assert.deepEqual(asText(limitWrites(limits, true)), [
    'cpu.weight=39',
    'cpu.max=50000 100000',
    'memory.max=67108864',
    'pids.max=max',
  ]);
});

test('weights keep their order and their ends', () => {
  assert.deepEqual([0, 2, 1024, 262_144, 1e9].map(sharesToWeight), [1, 1, 39, 10_000, 10_000]);
});

test('swap is told apart from memory on v2', () => {
  assert.deepEqual(asText(limitWrites({ memoryBytes: 100, memoryAndSwapBytes: 150 }, true)), [
    'memory.max=100',
    'memory.swap.max=50',
  ]);
});

test('unified settings need v2', () => {
  assert.throws(() => limitWrites({ unified: { 'memory.high': '1' } }, false), /need cgroup v2/);
  assert.deepEqual(asText(limitWrites({ unified: { 'memory.high': '1' } }, true)), ['memory.high=1']);
});

test('pressure files are read', () => {
  const text = 'some avg10=1.50 avg60=0.00 avg300=0.10 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n';
  assert.deepEqual(parsePressure(text)?.some, { average10: 1.5, average60: 0, average300: 0.1, totalUs: 1234n });
  assert.equal(parsePressure(undefined), undefined);
});

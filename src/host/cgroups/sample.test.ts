import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OpenFiles } from './open-files.ts';
import { type ReadFile, readSample } from './sample.ts';

const reader =
  (files: Record<string, string>): ReadFile =>
  (controller, file) =>
    files[`${controller}/${file}`];

test('cgroup v1: limits that are none, swap as part of the sum', () => {
  const sample = readSample(
    reader({
      'cpuacct/cpuacct.usage': '123\n',
      'memory/memory.usage_in_bytes': '1000\n',
      'memory/memory.limit_in_bytes': '9223372036854771712\n',
      'memory/memory.memsw.usage_in_bytes': '1500\n',
      'memory/memory.memsw.limit_in_bytes': '9223372036854771712\n',
      'memory/memory.stat': 'rss 1\ntotal_rss 70\ntotal_inactive_file 300\ntotal_pgfault 5\ntotal_pgmajfault 6\n',
      'pids/pids.current': '2\n',
    }),
    false,
  );
  assert.deepEqual(
    [sample?.cpuNs, sample?.workingSetBytes, sample?.rssBytes, sample?.swapBytes, sample?.majorPageFaults],
    [123n, 700n, 70n, 500n, 6n],
  );
  assert.deepEqual([sample?.memoryLimitBytes, sample?.swapLimitBytes], [undefined, undefined]);
  assert.equal(readSample(reader({}), false), undefined);
});

test('cgroup v2: max is no limit, pressure comes along', () => {
  const pressure = 'some avg10=1.50 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n';
  const sample = readSample(
    reader({
      'unified/cpu.stat': 'usage_usec 5\nuser_usec 3\n',
      'unified/memory.current': '4096\n',
      'unified/memory.max': 'max\n',
      'unified/memory.swap.max': '8192\n',
      'unified/memory.stat': 'anon 10\nfile 20\ninactive_file 96\npgfault 1\npgmajfault 0\n',
      'unified/cpu.pressure': pressure,
    }),
    true,
  );
  assert.deepEqual([sample?.cpuNs, sample?.workingSetBytes, sample?.rssBytes], [5000n, 4000n, 10n]);
  assert.deepEqual([sample?.memoryLimitBytes, sample?.swapLimitBytes], [undefined, 8192n]);
  assert.equal(sample?.cpuPressure?.some.average10, 1.5);
  assert.equal(sample?.cpuPressure?.full.totalUs, 3n);
});

test('files are read anew each time, and closed when they are forgotten', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dh-open-'));
  const path = join(directory, 'file');
  writeFileSync(path, 'one');
  const files = new OpenFiles();
  const read = () => files.read('/a/b', 'file', () => path);
  assert.equal(read(), 'one');
  writeFileSync(path, 'other');
  assert.equal(read(), 'other');
  assert.equal(
    files.read('/a/b', 'file2', () => `${path}2`),
    undefined,
  );
  rmSync(directory, { recursive: true });
  assert.ok(!existsSync(path));
  // Still open: only forgetting ends that.
  assert.equal(read(), 'other');
  files.forget('/a');
  assert.equal(read(), undefined);
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDetails } from './details.ts';
import { readUsage } from './usage.ts';

function withFiles(files: Readonly<Record<string, string>>, check: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'dh-cgroup-'));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
    check(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const pressure =
  'some avg10=1.50 avg60=0.00 avg300=0.00 total=2000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n';

test('v1 files: devices, huge pages, limits; what is not limited is left out', () => {
  const files = {
    'blkio.throttle.io_service_bytes_recursive': '8:0 Read 4096\n8:0 Write 10\n254:1 Write 7\nTotal 4113\n',
    'blkio.throttle.io_serviced_recursive': '8:0 Read 1\n8:0 Write 2\nTotal 3\n',
    'hugetlb.2MB.usage_in_bytes': '2097152\n',
    'hugetlb.2MB.max_usage_in_bytes': '4194304\n',
    'hugetlb.2MB.rsvd.usage_in_bytes': '0\n',
    'cpu.shares': '512\n',
    'cpu.cfs_period_us': '100000\n',
    'cpu.cfs_quota_us': '-1\n',
    'memory.soft_limit_in_bytes': '9223372036854771712\n',
  };
  withFiles(files, (directory) => {
    const details = readDetails(() => directory, false);
    assert.deepEqual(details, {
      devices: [
        { device: '8:0', readBytes: 4096n, writeBytes: 10n, reads: 1n, writes: 2n },
        { device: '254:1', readBytes: 0n, writeBytes: 7n, reads: 0n, writes: 0n },
      ],
      hugepages: [{ pageSize: '2MB', bytes: 2_097_152n, maximumBytes: 4_194_304n }],
      cpuShares: 512n,
      cpuPeriodUs: 100_000n,
    });
  });
});

test('v2 files say the same in their own way', () => {
  const files = {
    'io.stat': '8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n',
    'hugetlb.1GB.current': '0\n',
    'hugetlb.2MB.current': '2097152\n',
    'cpu.weight': '20\n',
    'cpu.max': '20000 100000\n',
    'memory.low': '1000\n',
  };
  withFiles(files, (directory) => {
    const details = readDetails(() => directory, true);
    assert.deepEqual(details.devices, [{ device: '8:0', readBytes: 4096n, writeBytes: 10n, reads: 1n, writes: 2n }]);
    assert.deepEqual(details.hugepages, [
      { pageSize: '1GB', bytes: 0n },
      { pageSize: '2MB', bytes: 2_097_152n },
    ]);
    assert.deepEqual(
      [details.cpuShares, details.cpuPeriodUs, details.cpuQuotaUs, details.memoryReservationBytes],
      [500n, 100_000n, 20_000n, 1000n],
    );
  });
});

test('nothing there is nothing, and no error', () => {
  assert.deepEqual(
    readDetails(() => undefined, false),
    {
      devices: [],
      hugepages: [],
      cpuShares: 0n,
      cpuPeriodUs: 0n,
    },
  );
});

test('beside v1 trees, pressure is told by the v2 tree', () => {
  withFiles({ 'cpu.pressure': pressure }, (directory) => {
    const usage = readUsage((controller) => (controller === 'unified' ? directory : undefined), false);
    assert.deepEqual(usage.cpuPressure?.some, { average10: 1.5, average60: 0, average300: 0, totalUs: 2000n });
    assert.equal(usage.memoryPressure, undefined);
  });
});

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { applySysctls, conntrackSysctls } from './node-settings.ts';

const base = '/proc/sys/net/netfilter/nf_conntrack_';

test('parameters of connection tracking are those of upstream', () => {
  const max = (maxPerCore: number, minimum: number, processors: number) =>
    conntrackSysctls({ maxPerCore, minimum }, processors, 1e9)[0]?.value;
  assert.equal(max(32_768, 131_072, 2), '131072', 'the minimum');
  assert.equal(max(32_768, 131_072, 8), '262144', 'so many for each core');
  assert.equal(max(32_768, 131_072, 64), '1048576', 'no more than a million');
  assert.equal(max(0, 131_072, 8), undefined, 'left as it is');
  assert.deepEqual(conntrackSysctls({ maxPerCore: 100, minimum: 0 }, 4, 50), [
    { path: `${base}max`, value: '400' },
    { path: '/sys/module/nf_conntrack/parameters/hashsize', value: '100' },
  ]);
  const times = {
    ...{ tcpEstablishedTimeoutMs: 86_400_000, tcpCloseWaitTimeoutMs: 3_600_000, tcpBeLiberal: true },
    ...{ udpTimeoutMs: 0, udpStreamTimeoutMs: 90_500 },
  };
  assert.deepEqual(
    conntrackSysctls(times, 1, 1).map(({ path, value }) => [path.slice(base.length), value]),
    [
      ['tcp_timeout_established', '86400'],
      ['tcp_timeout_close_wait', '3600'],
      ['tcp_be_liberal', '1'],
      ['udp_timeout_stream', '90'],
    ],
  );
});

test('one that cannot be set holds up no other, and one that is right is not written', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'deckhand-sysctl-'));
  try {
    const [first, second] = [join(directory, 'a'), join(directory, 'b')];
    await writeFile(first, '1\n');
    await writeFile(second, '5\n');
    const failed = await applySysctls([
      { path: first, value: '1' },
      { path: join(directory, 'missing'), value: '2' },
      { path: second, value: '7' },
    ]);
    assert.deepEqual(
      failed.map(({ sysctl }) => sysctl.value),
      ['2'],
    );
    assert.equal(await readFile(first, 'utf8'), '1\n');
    assert.equal(await readFile(second, 'utf8'), '7');
  } finally {
    await rm(directory, { recursive: true });
  }
});

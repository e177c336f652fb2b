/** The kernel's load balancer over netlink, beside what the program ipvsadm says, in a kernel that has it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { output } from '../support/processes.ts';
import { inSecondKernel, secondKernelMissing } from '../support/second-kernel.ts';

const skip = await secondKernelMissing({ '/usr/sbin/ipvsadm': 'ipvsadm' });

test('virtual and real servers of both families: made, changed, listed, removed', { skip }, async () => {
  const script = join(import.meta.dirname, 'host-ipvs-kernel.ts');
  const argv = [...inSecondKernel(120), process.execPath, '--disable-warning=ExperimentalWarning', script];
  const text = await output(argv, { timeoutMs: 130_000 });
  const found = JSON.parse(text.split('\n').findLast((line) => line.startsWith('{')) ?? text);
  assert.match(found.info.version, /^1\./);
  assert.equal(found.errors.slice(0, 7).join(''), '');
  assert.match(found.errors[7], /EEXIST/);
  assert.match(found.errors[8], /ENOENT/);
  assert.equal(found.errors.slice(9).join(''), '');
  const sorted = found.listed.map((one: any) => [
    one.address,
    one.port,
    one.protocol,
    one.scheduler,
    one.persistenceSeconds,
  ]);
  assert.deepEqual(sorted.sort(), [
    ['10.96.0.1', 80, 'TCP', 'lc', 0],
    ['10.96.0.2', 53, 'UDP', 'sh', 10_800],
    ['10.96.0.3', 80, 'TCP', 'mh', 0],
    ['fd00::1', 443, 'TCP', 'wlc', 60],
  ]);
  assert.equal(found.listed.find((one: any) => one.scheduler === 'mh').schedulerFlags, 8);
  assert.deepEqual(found.reals.map(({ address, port, weight }: any) => [address, port, weight]).sort(), [
    ['10.0.0.1', 8080, 1],
    ['10.0.0.2', 8080, 0],
  ]);
  for (const line of [
    '-A -t 10.96.0.1:80 -s lc',
    '-a -t 10.96.0.1:80 -r 10.0.0.1:8080 -m -w 1',
    '-a -t 10.96.0.1:80 -r 10.0.0.2:8080 -m -w 0',
    '-A -u 10.96.0.2:53 -s sh -p 10800',
    '-A -t [fd00::1]:443 -s wlc -p 60',
    '-a -t [fd00::1]:443 -r [fd00::8]:8080 -m -w 1',
  ])
    assert.ok(found.shown.includes(line), `${line} in\n${found.shown}`);
  assert.deepEqual(found.timeouts, { tcp: 7200, tcpFin: 60, udp: 120 });
  assert.deepEqual([found.manyErrors, found.count, found.removed, found.left, found.none], [0, 2004, 0, '', []]);
});

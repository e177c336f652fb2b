import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressPool } from './address-pool.ts';

test('addresses come round as late as possible, and run out with a clear error', () => {
  const pool = new AddressPool('10.1.2.8/29');
  assert.equal(pool.gateway, '10.1.2.9');
  const taken = [pool.take(), pool.take()];
  assert.deepEqual(taken, ['10.1.2.10', '10.1.2.11']);
  pool.release('10.1.2.10');
  assert.deepEqual(
    [pool.take(), pool.take(), pool.take(), pool.take()],
    ['10.1.2.12', '10.1.2.13', '10.1.2.14', '10.1.2.10'],
  );
  assert.throws(() => pool.take(), /no address is free for the pod: all 5 of the range 10\.1\.2\.8\/29 are in use/);
});

test('IPv6 ranges work the same way', () => {
  const pool = new AddressPool('fd00:1::42/64');
  assert.deepEqual(
    [pool.cidr, pool.gateway, pool.take(), pool.take()],
    ['fd00:1::/64', 'fd00:1::1', 'fd00:1::2', 'fd00:1::3'],
  );
  const small = new AddressPool('fd00::8/126');
  assert.equal(small.take(), 'fd00::a');
  assert.throws(() => small.take(), /all 1 of the range fd00::8\/126/);
  assert.ok(pool.contains('fd00:1::5') && !pool.contains('fd00:2::5') && !pool.contains('10.0.0.1'));
});

test('an adopted address is not given again, and a next run goes on where the last one was', () => {
  const pool = new AddressPool('192.168.255.0/24');
  pool.adopt('192.168.255.2');
  pool.adopt('10.0.0.1');
  assert.equal(pool.take(), '192.168.255.3');
  const again = new AddressPool('192.168.255.0/24');
  again.next = pool.next;
  assert.equal(again.take(), '192.168.255.4');
  again.next = 9999;
  assert.equal(again.take(), '192.168.255.5', 'what makes no sense is passed over');
});

test('what is not a usable range is refused', () => {
  for (const cidr of [
    '10.0.0.0',
    '10.0.0.0/31',
    '10.0.0/24',
    'fd00::/127',
    'fd00::/8',
    'x/24',
    '10.0.0.0/33',
    '10.0.0.0/2x',
  ])
    assert.throws(() => new AddressPool(cidr), /pod range/, cidr);
});

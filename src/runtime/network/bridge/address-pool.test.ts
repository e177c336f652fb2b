import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressPool } from './address-pool.ts';

test('addresses come round as late as possible, and run out', () => {
  const pool = new AddressPool('10.1.2.8/29');
  assert.equal(pool.gateway, '10.1.2.9');
  const taken = [pool.take(), pool.take()];
  assert.deepEqual(taken, ['10.1.2.10', '10.1.2.11']);
  pool.release('10.1.2.10');
  assert.deepEqual(
    [pool.take(), pool.take(), pool.take(), pool.take()],
    ['10.1.2.12', '10.1.2.13', '10.1.2.14', '10.1.2.10'],
  );
  assert.throws(() => pool.take(), /used up/);
});

test('an adopted address is not given again', () => {
  const pool = new AddressPool('192.168.255.0/24');
  pool.adopt('192.168.255.2');
  pool.adopt('10.0.0.1');
  assert.equal(pool.take(), '192.168.255.3');
});

test('what is not a usable range is refused', () => {
  for (const cidr of ['10.0.0.0', '10.0.0.0/31', '10.0.0/24', 'fd00::/64'])
    assert.throws(() => new AddressPool(cidr), /pod range/);
});

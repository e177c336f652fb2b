import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryRegistry } from '../memory-registry.ts';
import { addressToNumber, numberToAddress, parseRange, rangeHolds } from './address-range.ts';
import { AllocationError, ServiceAllocator } from './service-allocator.ts';

const service = (name: string, clusterIP: string, nodePort?: number): any => ({
  metadata: { namespace: 'default', name },
  spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ port: 80, ...(nodePort ? { nodePort } : {}) }] },
});

test('addresses of both families are numbers and back', () => {
  for (const [text, family] of [
    ['10.96.0.1', 'IPv4'],
    ['fd00::a:1', 'IPv6'],
    ['2001:db8::', 'IPv6'],
  ] as const) {
    assert.equal(numberToAddress(addressToNumber(text), family), text);
  }
  assert.equal(rangeHolds(parseRange('10.96.0.0/16'), '10.96.255.255'), true);
  assert.equal(rangeHolds(parseRange('10.96.0.0/16'), '10.97.0.0'), false);
  assert.throws(() => parseRange('10.96.0.0'), RangeError);
});

test('addresses are given once, the lower band last, until the range is full', () => {
  const allocator = new ServiceAllocator({ serviceCidrs: ['10.0.0.0/27'] });
  const given = Array.from({ length: 30 }, (_, index) => allocator.anyAddress('IPv4', `default/s${index}`));
  assert.equal(new Set(given).size, 30);
  assert.ok(given.slice(0, 14).every((address) => Number(address.split('.')[3]) > 16));
  assert.equal(given.includes('10.0.0.0') || given.includes('10.0.0.31'), false);
  assert.throws(() => allocator.anyAddress('IPv4', 'default/more'), new AllocationError('range is full'));
});

test('what the store holds stays taken, what failed is given back, what is deleted is free', async () => {
  const registry = new MemoryRegistry();
  await registry.create('services', service('old', '10.0.0.5', 30_080));
  const allocator = new ServiceAllocator({ serviceCidrs: ['10.0.0.0/24'] });
  allocator.follow(registry);
  const taken = { message: 'provided IP is already allocated' };
  assert.throws(() => allocator.takeAddress('10.0.0.5', 'default/new'), taken);
  assert.throws(() => allocator.takePort(30_080, 'default/new'), { message: 'provided port is already allocated' });

  allocator.takeAddress('10.0.0.6', 'default/new');
  assert.throws(() => allocator.takeAddress('10.0.0.6', 'default/other'), taken);
  allocator.release(['10.0.0.6'], 'default/new');
  allocator.takeAddress('10.0.0.6', 'default/other');
  await registry.create('services', service('other', '10.0.0.6'));
  // A write of the same Service that fails later gives back nothing that is stored.
  allocator.takeAddress('10.0.0.6', 'default/other');
  allocator.release(['10.0.0.6'], 'default/other');
  assert.throws(() => allocator.takeAddress('10.0.0.6', 'default/third'), taken);

  await registry.delete('services', 'default', 'old');
  allocator.takeAddress('10.0.0.5', 'default/new');
  allocator.takePort(30_080, 'default/new');
});

test('a reservation outlives changes of its Service that do not have it yet', async () => {
  const registry = new MemoryRegistry();
  const allocator = new ServiceAllocator({ serviceCidrs: ['10.0.0.0/24'] });
  allocator.follow(registry);
  await registry.create('services', service('web', '10.0.0.7'));
  allocator.takePort(30_100, 'default/web');
  await registry.update('services', 'default', 'web', (object: any) => ({
    ...object,
    metadata: { ...object.metadata },
  }));
  assert.throws(() => allocator.takePort(30_100, 'default/other'), AllocationError);
});

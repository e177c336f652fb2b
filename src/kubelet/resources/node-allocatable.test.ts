import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeAllocatable } from '../node/node-status.ts';
import { allPodsLimits, mostPods, parseCpuList, reservationLimits, totalReserved } from './node-allocatable.ts';

const capacity = {
  cpuMilli: 4000,
  memoryBytes: 8 * 2 ** 30,
  diskBytes: 100 * 2 ** 30,
  maximumPids: 1000,
  hugepages: {},
};
const reservations = {
  systemReserved: { cpu: '500m', memory: '1Gi', pid: '100' },
  kubeReserved: { cpu: '250m', memory: '512Mi', 'ephemeral-storage': '1Gi' },
  reservedSystemCPUs: '',
};

describe('what is kept from pods', () => {
  it('is what system and kubelet reserve, and processors by number stand for both', () => {
    const reserved = totalReserved(reservations);
    assert.deepEqual(reserved, { cpuMilli: 750, memoryBytes: 1.5 * 2 ** 30, storageBytes: 2 ** 30, pids: 100 });
    assert.equal(totalReserved({ ...reservations, reservedSystemCPUs: '0-1,3' }).cpuMilli, 3000);
  });

  it('leaves the rest, less the hard eviction thresholds, as allocatable', () => {
    const evictionReserved = { memoryBytes: 512 * 2 ** 20, storageBytes: 10 * 2 ** 30 };
    const text = { cpu: '4', memory: '8388608Ki', 'ephemeral-storage': '104857600Ki', pods: '110' };
    assert.deepEqual(makeAllocatable(text, { reserved: totalReserved(reservations), evictionReserved }), {
      cpu: '3250m',
      memory: '6291456Ki',
      'ephemeral-storage': String(89 * 2 ** 30),
      pods: '110',
    });
  });

  it('bounds the cgroup of all pods, where the thresholds are not taken off', () => {
    assert.deepEqual(allPodsLimits(capacity, reservations, true), {
      cpuShares: 3328,
      memoryBytes: 6.5 * 2 ** 30,
      pids: 900,
    });
    assert.deepEqual(allPodsLimits(capacity, reservations, false), { cpuShares: 3328 });
  });

  it('bounds the cgroups of the reservations, or only their processors', () => {
    const { systemReserved } = reservations;
    assert.deepEqual(reservationLimits(systemReserved, false), { cpuShares: 512, memoryBytes: 2 ** 30, pids: 100 });
    assert.deepEqual(reservationLimits(systemReserved, true), { cpuShares: 512 });
  });

  it('is never more than so many pods for a processor', () => {
    assert.equal(mostPods({ maxPods: 110, podsPerCore: 10 }, capacity), 40);
    assert.equal(mostPods({ maxPods: 30, podsPerCore: 10 }, capacity), 30);
    assert.equal(mostPods({ maxPods: 110, podsPerCore: 0 }, capacity), 110);
  });

  it('lists processors as the kernel does', () => {
    assert.deepEqual(parseCpuList('3,0-1'), [0, 1, 3]);
    assert.deepEqual(parseCpuList(''), []);
    assert.throws(() => parseCpuList('1-x'), /"1-x" is neither/);
    assert.throws(() => parseCpuList('3-1'), /backwards/);
  });
});

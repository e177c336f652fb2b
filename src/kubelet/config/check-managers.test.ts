import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { completeConfiguration } from './kubelet-configuration.ts';

describe('fields of managers and shutdowns', () => {
  const refused = (given: Record<string, unknown>, expected: RegExp) =>
    assert.throws(() => completeConfiguration(given), expected, JSON.stringify(given));

  it('that do not fit each other are refused by name', () => {
    refused(
      { cpuManagerPolicyOptions: { 'full-pcpus-only': 'true' } },
      /cpuManagerPolicyOptions: are for cpuManagerPolicy static/,
    );
    refused(
      { cpuManagerPolicy: 'static', cpuManagerPolicyOptions: { x: '1' } },
      /cpuManagerPolicyOptions: unknown option "x"/,
    );
    refused({ reservedSystemCPUs: '0-' }, /reservedSystemCPUs: "0-" is not a list of processors/);
    refused({ reservedSystemCPUs: '0', kubeReservedCgroup: '/x' }, /reservedSystemCPUs: cannot be used with/);
    refused({ memoryManagerPolicy: 'Static' }, /reservedMemory: memoryManagerPolicy Static needs to know/);
    refused({ topologyManagerPolicyOptions: { 'max-allowable-numa-nodes': '2' } }, /at least 8/);
    const memory = { memoryManagerPolicy: 'Static' };
    refused(
      { ...memory, reservedMemory: [{ numaNode: 0, limits: { cpu: '1' } }] },
      /reservedMemory\[0\]\.limits: cpu is neither/,
    );
    refused(
      { ...memory, reservedMemory: [{ numaNode: 0, limits: { memory: '1Gi' }, x: 1 }] },
      /reservedMemory\[0\]\.x: unknown field/,
    );
    refused(
      { ...memory, reservedMemory: [{ numaNode: -1, limits: { memory: '1Gi' } }] },
      /reservedMemory\[0\]\.numaNode/,
    );
  });

  it('priorities of shutdowns are whole numbers, each once', () => {
    const field = 'shutdownGracePeriodByPodPriority';
    const one = { priority: 0, shutdownGracePeriodSeconds: 5 };
    refused({ [field]: [{ ...one, seconds: 1 }] }, /\[0\]\.seconds: unknown field/);
    refused({ [field]: [{ ...one, priority: 'x' }] }, /\[0\]\.priority: must be a whole number/);
    refused({ [field]: [one, one] }, /\[1\]\.priority: 0 is there twice/);
    refused({ [field]: [{ ...one, shutdownGracePeriodSeconds: -1 }] }, /at least 0/);
    assert.doesNotThrow(() => completeConfiguration({ [field]: [one, { ...one, priority: 10 }] }));
  });
});

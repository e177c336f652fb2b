import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeContainer, makeEnded, makePod, makeRuntimeContainer } from '../testing/pods.ts';
import { containerResourceStatus, podResourceStatus } from './resource-status.ts';

const granted = {
  requests: { cpu: '500m', memory: '64Mi' },
  limits: { cpu: '1', memory: '64Mi', 'example.com/x': '1' },
};
const container = makeContainer('main', { resources: granted });

describe('the resources of a container in its status', () => {
  it('are those in force, beside those that were granted', () => {
    const before = { requests: { cpu: '100m', memory: '32Mi' }, limits: { memory: '32Mi' } };
    const status = containerResourceStatus(container, makeRuntimeContainer('main'), { containers: { main: before } });
    assert.deepEqual(status, {
      resources: { requests: before.requests, limits: { memory: '32Mi', 'example.com/x': '1' } },
      allocatedResources: granted.requests,
    });
  });

  it('are those that were granted when it does not run', () => {
    const status = containerResourceStatus(container, makeEnded('main', 0), { containers: {} });
    assert.deepEqual(status.resources, granted);
  });

  it('follow the runtime where it says clearly something else', () => {
    const reported = (resources: object) => {
      const running = makeRuntimeContainer('main', { resources: resources as never });
      return containerResourceStatus(container, running, { containers: { main: granted } }).resources;
    };
    const same = { cpuShares: 512, cpuQuota: 100_000, cpuPeriod: 100_000, memoryLimit: 64 * 2 ** 20 };
    assert.deepEqual(reported(same), granted);
    assert.equal(reported({ ...same, cpuQuota: 50_000 }).limits?.['cpu'], '500m');
    assert.equal(reported({ ...same, cpuShares: 1024 }).requests?.['cpu'], '1');
    assert.equal(reported({ ...same, memoryLimit: 1 }).limits?.['memory'], '1');
  });
});

describe('the resources of a pod as a whole in its status', () => {
  it('are the sum of its containers, or what it asks for itself', () => {
    const pod = makePod({ containers: [container, makeContainer('b', { resources: { requests: { cpu: '250m' } } })] });
    assert.deepEqual(podResourceStatus(pod, undefined).allocatedResources, {
      cpu: '750m',
      memory: '64Mi',
      'example.com/x': '1',
    });
    const whole = makePod({ ...pod.spec, resources: { requests: { cpu: '2' }, limits: { cpu: '2' } } });
    const status = podResourceStatus(whole, { pod: { requests: { cpu: '1' } }, containers: {} });
    assert.equal(status.resources.requests?.['cpu'], '1');
    assert.equal(status.allocatedResources['cpu'], '2');
  });
});

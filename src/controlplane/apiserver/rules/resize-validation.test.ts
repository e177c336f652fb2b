import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryRegistry } from '../memory-registry.ts';
import { keepOutsideSubresource } from '../objects/subresource.ts';
import { createRules, ServiceAllocator } from './index.ts';

const rules = createRules(new ServiceAllocator({ serviceCidrs: ['10.96.0.0/16'] }))['pods']!;
const context = {
  user: { username: 'u', groups: [] },
  namespace: 'default',
  dryRun: false,
  now: 0,
  subresource: 'resize',
  registry: new MemoryRegistry(),
  onFailure: () => {},
};
const sized = (requests: object, limits?: object, more: object = {}) => ({
  name: 'c',
  image: 'x:1',
  resources: { requests, ...(limits ? { limits } : {}) },
  ...more,
});
const podOf = (spec: object, metadata: object = {}): any => {
  const pod = { metadata: { name: 'web', ...metadata }, spec };
  rules.setDefaults!(pod);
  return pod;
};
/** What is wrong with a resize from one pod to another, as the API server goes about it. */
function resize(from: object, to: object, metadata = {}): string[] {
  const [old, next] = [podOf(structuredClone(from), metadata), podOf(structuredClone(to), metadata)];
  keepOutsideSubresource({} as never, 'resize', next, old);
  return rules.validate!(next, old, context).map(({ field, message }) => `${field}: ${message}`);
}
const burstable = { containers: [sized({ cpu: '100m', memory: '10Mi' })] };

describe('the resize of a pod', () => {
  it('changes processors and memory, and adds limits', () => {
    assert.deepEqual(resize(burstable, { containers: [sized({ cpu: '200m', memory: '10Mi' }, { cpu: '1' })] }), []);
    const init = (cpu: string) => ({ ...burstable, initContainers: [{ ...sized({ cpu }), name: 'i' }] });
    assert.deepEqual(resize(init('1'), init('2')), []);
  });

  it('takes nothing away, and does not change the class', () => {
    assert.deepEqual(resize(burstable, { containers: [sized({ cpu: '100m' })] }), [
      'spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed',
    ]);
    const text = 'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing';
    const guaranteed = { cpu: '100m', memory: '10Mi' };
    assert.deepEqual(resize(burstable, { containers: [sized(guaranteed, guaranteed)] }), [text]);
  });

  it('leaves other resources, other containers and static pods alone', () => {
    const disk = { cpu: '100m', memory: '10Mi', 'ephemeral-storage': '1Gi' };
    assert.deepEqual(resize(burstable, { containers: [sized(disk)] }), [
      'spec: Forbidden: only cpu and memory resources are mutable',
    ]);
    assert.deepEqual(resize(burstable, { containers: [...burstable.containers, { name: 'd', image: 'x:1' }] }), [
      'spec.containers: Forbidden: containers may not be added or removed on resize',
    ]);
    assert.deepEqual(resize(burstable, { containers: [{ ...burstable.containers[0], name: 'z' }] }), [
      'spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize',
    ]);
    const mirror = { annotations: { 'kubernetes.io/config.mirror': 'x' } };
    assert.deepEqual(resize(burstable, burstable, mirror), [': Forbidden: static pods cannot be resized']);
  });

  it('does not make an ordinary init container restart', () => {
    const resizePolicy = [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }];
    const init = (cpu: string) => ({
      ...burstable,
      initContainers: [{ ...sized({ cpu }, undefined, { resizePolicy }), name: 'i' }],
    });
    assert.match(resize(init('1'), init('2'))[0]!, /non-sidecar init containers with a resize policy/);
  });

  it('changes what the pod as a whole asks for', () => {
    const whole = (cpu: string, limit: string) => ({
      ...burstable,
      resources: { requests: { cpu, memory: '20Mi' }, limits: { cpu: limit } },
    });
    assert.deepEqual(resize(whole('500m', '1'), whole('600m', '2')), []);
    assert.deepEqual(resize(whole('500m', '1'), burstable), [
      'spec.resources: Forbidden: pod-level resources cannot be removed',
    ]);
    assert.match(resize(whole('500m', '1'), whole('50m', '1'))[0]!, /aggregate container requests of 100m/);
  });
});

describe('resources of a pod as a whole', () => {
  it('are requested as its containers request, or as they are limited', () => {
    const pod = podOf({ ...burstable, resources: { limits: { cpu: '1', memory: '1Gi' } } });
    assert.deepEqual(pod.spec.resources.requests, { cpu: '100m', memory: '10Mi' });
    const empty = podOf({ containers: [{ name: 'c', image: 'x:1' }], resources: { limits: { cpu: '1' } } });
    assert.deepEqual(empty.spec.resources.requests, { cpu: '1' });
  });

  it('are processors, memory and huge pages, and bound the containers', () => {
    const check = (resources: object) =>
      rules.validate!(podOf({ containers: [sized({ cpu: '1' }, { cpu: '3' })], resources }), undefined, {
        ...context,
        subresource: '',
      }).map(({ field, message }) => `${field}: ${message}`);
    assert.match(check({ requests: { 'ephemeral-storage': '1Gi' } })[0]!, /^spec\.resources\.requests: Unsupported/);
    assert.match(check({ limits: { cpu: '2' } })[0]!, /must be less than or equal to pod limits of 2/);
    assert.deepEqual(check({ limits: { cpu: '4' } }), []);
  });

  it('resize policies are checked', () => {
    const check = (resizePolicy: object[], restartPolicy = 'Always') =>
      rules.validate!(podOf({ containers: [{ name: 'c', image: 'x:1', resizePolicy }], restartPolicy }), undefined, {
        ...context,
        subresource: '',
      }).length;
    const cpu = { resourceName: 'cpu', restartPolicy: 'RestartContainer' };
    assert.equal(check([cpu]), 0);
    assert.equal(check([cpu, cpu]), 1);
    assert.equal(check([cpu], 'Never'), 1);
    assert.equal(check([{ resourceName: 'disk', restartPolicy: 'Sometimes' }]), 2);
  });
});

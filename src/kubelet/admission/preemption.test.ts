import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../api/index.ts';
import { makeContainer, makePod } from '../testing/pods.ts';
import { choosePreempted, isPreemptable } from './preemption.ts';

const pod = (name: string, requests: Record<string, string>, limits?: Record<string, string>, priority = 0): Pod =>
  makePod(
    { priority, containers: [makeContainer('c', { resources: { requests, ...(limits ? { limits } : {}) } })] },
    { name, uid: name },
  );
const critical = pod('critical', { cpu: '1' }, undefined, 2_000_000_000);
const short = (resource: string, requested: number, used: number, capacity: number) => ({
  kind: 'resource' as const,
  ...{ resource, requested, used, capacity },
});
const names = (pods: Pod[]) => pods.map(({ metadata }) => metadata.name);

describe('preemption for critical pods', () => {
  it('ends as few pods as will do, the smallest that suffices', () => {
    const others = [pod('small', { cpu: '100m' }), pod('fits', { cpu: '600m' }), pod('large', { cpu: '900m' })];
    assert.deepEqual(names(choosePreempted(critical, others, [short('cpu', 1000, 1600, 2000)])), ['fits']);
    assert.deepEqual(names(choosePreempted(critical, others, [short('cpu', 1000, 2000, 2000)])), ['large', 'small']);
  });

  it('ends burstable pods before guaranteed ones, and best-effort ones only for places', () => {
    const guaranteed = pod('guaranteed', { cpu: '1', memory: '1Gi' }, { cpu: '1', memory: '1Gi' });
    const others = [guaranteed, pod('burstable', { cpu: '1' }), pod('best-effort', {})];
    assert.deepEqual(names(choosePreempted(critical, others, [short('cpu', 1000, 2000, 2000)])), ['burstable']);
    assert.deepEqual(names(choosePreempted(critical, others, [short('pods', 1, 3, 3)])), ['best-effort']);
  });

  it('spares critical pods, and says what cannot be made free', () => {
    const other = pod('other-critical', { cpu: '2' }, undefined, 2_000_000_000);
    assert.equal(isPreemptable(critical, other), false);
    assert.throws(() => choosePreempted(critical, [other], [short('cpu', 1000, 2000, 2000)]), {
      message: 'no set of running pods found to reclaim resources: [(res: cpu, q: 1000), ]',
    });
  });
});

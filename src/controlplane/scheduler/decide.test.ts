import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod, PodSpec, Taint } from '../../api/index.ts';
import { ClusterState } from './cluster-state.ts';
import { type Decision, decide } from './decide.ts';
import { podInfoOf, podRequests } from './pod-info.ts';

let count = 0;
function pod(name: string, spec: Partial<PodSpec> & { cpu?: string } = {}, labels: Record<string, string> = {}): Pod {
  const { cpu, ...rest } = spec;
  const requests = cpu ? { resources: { requests: { cpu } } } : {};
  return {
    metadata: { name, namespace: 'default', uid: `u${++count}`, resourceVersion: '1', creationTimestamp: '', labels },
    spec: { containers: [{ name: 'c', image: 'i', ...requests }], ...rest },
  };
}
function node(name: string, more: { labels?: Record<string, string>; taints?: Taint[]; cpu?: string } = {}): Node {
  return {
    metadata: {
      name,
      uid: name,
      resourceVersion: '1',
      creationTimestamp: '',
      labels: { 'kubernetes.io/hostname': name, ...more.labels },
    },
    spec: { ...(more.taints ? { taints: more.taints } : {}) },
    status: { allocatable: { cpu: more.cpu ?? '2', memory: '4Gi', pods: '110' } },
  };
}
function cluster(...nodes: Node[]): ClusterState {
  const state = new ClusterState();
  for (const one of nodes) state.setNode(one.metadata.name, one);
  return state;
}
const messageOf = (decision: Decision): string => (decision.kind === 'refuse' ? decision.message : decision.node);

test('too little of a resource is told as upstream tells it', () => {
  const state = cluster(node('a'));
  state.assume(podInfoOf(pod('x', { cpu: '1500m' })), 'a');
  const refusal = messageOf(decide(podInfoOf(pod('y', { cpu: '1' })), state));
  assert.equal(
    refusal,
    '0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.',
  );
  const tooBig = messageOf(decide(podInfoOf(pod('z', { cpu: '3' })), state));
  assert.match(tooBig, /preemption: 0\/1 nodes are available: 1 Preemption is not helpful for scheduling\.$/);
});

test('reasons of different nodes are counted and sorted', () => {
  const taint = { key: 'k', effect: 'NoSchedule' };
  const state = cluster(node('a', { taints: [taint] }), node('b', { cpu: '1' }), node('c', { cpu: '1' }));
  assert.match(
    messageOf(decide(podInfoOf(pod('x', { cpu: '2' })), state)),
    /^0\/3 nodes are available: 1 node\(s\) had untolerated taint\(s\), 2 Insufficient cpu\. preemption:/,
  );
  const tolerant = pod('y', { cpu: '2', tolerations: [{ key: 'k', operator: 'Exists' }] });
  assert.equal(messageOf(decide(podInfoOf(tolerant), state)), 'a');
});

test('node selector and affinity choose, unschedulable refuses', () => {
  const state = cluster(node('a', { labels: { disk: 'hdd' } }), node('b', { labels: { disk: 'ssd' } }));
  assert.equal(messageOf(decide(podInfoOf(pod('x', { nodeSelector: { disk: 'ssd' } })), state)), 'b');
  const required = {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'disk', operator: 'NotIn', values: ['ssd'] }] }],
  };
  const affine = pod('y', { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } } });
  assert.equal(messageOf(decide(podInfoOf(affine), state)), 'a');
  const closed = node('c');
  closed.spec!.unschedulable = true;
  assert.match(messageOf(decide(podInfoOf(pod('z')), cluster(closed))), /1 node\(s\) were unschedulable/);
});

test('copies of one owner spread over the nodes', () => {
  const state = cluster(node('a'), node('b'), node('c'));
  const placed = new Map<string, number>();
  for (let i = 0; i < 9; i++) {
    const one = pod(`p${i}`);
    one.metadata.ownerReferences = [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'r', controller: true },
    ];
    const chosen = messageOf(decide(podInfoOf(one), state));
    state.assume(podInfoOf(one), chosen);
    placed.set(chosen, (placed.get(chosen) ?? 0) + 1);
  }
  assert.deepEqual([...placed.values()], [3, 3, 3]);
});

test('host ports and pod anti-affinity keep pods apart, in both directions', () => {
  const state = cluster(node('a'));
  const withPort = () => pod('x', { containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }] });
  state.assume(podInfoOf(withPort()), 'a');
  assert.match(messageOf(decide(podInfoOf(withPort()), state)), /didn't have free ports/);
  const term = { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'w' } } };
  const lonely = pod('l', {
    affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
  });
  const other = cluster(node('a'));
  other.assume(podInfoOf(lonely), 'a');
  assert.match(messageOf(decide(podInfoOf(pod('w', {}, { app: 'w' })), other)), /existing pods anti-affinity rules/);
  other.removePod(lonely.metadata.uid);
  other.assume(podInfoOf(pod('w', {}, { app: 'w' })), 'a');
  assert.match(messageOf(decide(podInfoOf(lonely), other)), /didn't match pod anti-affinity rules/);
});

test('affinity to itself may begin anywhere, then stays near', () => {
  const state = cluster(node('a'), node('b'));
  const term = { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'g' } } };
  const make = () =>
    pod('g', { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } }, { app: 'g' });
  const first = messageOf(decide(podInfoOf(make()), state));
  state.assume(podInfoOf(make()), first);
  for (let i = 0; i < 4; i++) assert.equal(messageOf(decide(podInfoOf(make()), state, i)), first);
});

test('a spread constraint holds the skew', () => {
  const state = cluster(node('a', { labels: { zone: '1' } }), node('b', { labels: { zone: '2' } }));
  const constraint = {
    maxSkew: 1,
    topologyKey: 'zone',
    whenUnsatisfiable: 'DoNotSchedule',
    labelSelector: { matchLabels: { app: 's' } },
  };
  const make = () => pod('s', { topologySpreadConstraints: [constraint] }, { app: 's' });
  state.assume(podInfoOf(make()), 'a');
  for (let i = 0; i < 4; i++) assert.equal(messageOf(decide(podInfoOf(make()), state, i)), 'b');
});

test('preemption takes the fewest and least important, and none twice', () => {
  const state = cluster(node('a'));
  const low = pod('low', { cpu: '1', priority: 1 });
  const mid = pod('mid', { cpu: '1', priority: 5 });
  state.assume(podInfoOf(low), 'a');
  state.assume(podInfoOf(mid), 'a');
  const high = podInfoOf(pod('high', { cpu: '1', priority: 100 }));
  const decision = decide(high, state);
  assert.ok(decision.kind === 'refuse' && decision.preemption.kind === 'victims');
  assert.deepEqual(
    decision.preemption.victims.map(({ pod: victim }) => victim.metadata.name),
    ['low'],
  );
  state.nominate(high, 'a');
  low.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
  const again = decide(high, state);
  assert.ok(again.kind === 'refuse' && again.preemption.kind === 'none');
  state.removePod(low.metadata.uid);
  // The place is kept for it.
  assert.equal(decide(podInfoOf(pod('other', { cpu: '1', priority: 2 })), state).kind, 'refuse');
  assert.equal(messageOf(decide(high, state)), 'a');
});

test('requests count init containers by their maximum, sidecars and overhead', () => {
  const container = (cpu: string, restartPolicy?: string) => ({
    name: 'c',
    resources: { requests: { cpu } },
    ...(restartPolicy ? { restartPolicy } : {}),
  });
  const one = pod('x', {
    containers: [container('100m'), container('200m')],
    initContainers: [container('50m', 'Always'), container('500m')],
    overhead: { cpu: '10m' },
  });
  assert.equal(podRequests(one)['cpu'], 560);
});

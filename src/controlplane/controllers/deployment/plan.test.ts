import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Deployment, DeploymentSpec, ReplicaSet } from '../../../api/index.ts';
import { deploymentFacts } from './facts.ts';
import { type DeploymentStep, planDeployment } from './plan.ts';

const meta = (name: string, annotations = {}) => ({
  name,
  namespace: 'default',
  uid: name,
  resourceVersion: '1',
  creationTimestamp: `2026-01-01T00:00:0${name.length % 10}Z`,
  annotations,
});
const template = (image: string) => ({
  metadata: { labels: { app: 'w' } },
  spec: { containers: [{ name: 'c', image }] },
});
const deployment = (spec: Partial<DeploymentSpec> & { replicas: number }): Deployment => ({
  metadata: meta('w', { 'deployment.kubernetes.io/revision': '2' }),
  spec: { selector: { matchLabels: { app: 'w' } }, template: template('v2'), ...spec },
});
function set(
  image: string,
  asked: number,
  available: number,
  scale: { desired: number; maximum: number },
  revision = image.slice(1),
): ReplicaSet {
  return {
    metadata: meta(`w-${image}`, {
      'deployment.kubernetes.io/revision': revision,
      'deployment.kubernetes.io/desired-replicas': String(scale.desired),
      'deployment.kubernetes.io/max-replicas': String(scale.maximum),
    }),
    spec: { replicas: asked, selector: {}, template: template(image) },
    status: { replicas: asked, availableReplicas: available, readyReplicas: available },
  };
}
const plan = (one: Deployment, sets: ReplicaSet[]) => planDeployment(deploymentFacts(one, sets, () => [], 0));
const scales = (steps: DeploymentStep[]) =>
  steps.flatMap((step) => (step.kind === 'scale' ? [`${step.set.metadata.name} ${step.from}->${step.to}`] : []));
const rolling = (maxSurge: number | string, maxUnavailable: number | string) => ({
  type: 'RollingUpdate',
  rollingUpdate: { maxSurge, maxUnavailable },
});

test('the first ReplicaSet has all replicas, a second only what the surge allows', () => {
  const first = plan(deployment({ replicas: 4 }), []);
  assert.ok(first[0]?.kind === 'createSet' && first[0].replicas === 4 && first[0].revision === 1);
  const second = plan(deployment({ replicas: 4, strategy: rolling(1, 0) }), [
    set('v1', 4, 4, { desired: 4, maximum: 5 }),
  ]);
  assert.ok(second[0]?.kind === 'createSet' && second[0].replicas === 1 && second[0].revision === 2);
});

test('old pods go only as new ones become available', () => {
  const one = deployment({ replicas: 4, strategy: rolling(1, 0) });
  const scale = { desired: 4, maximum: 5 };
  assert.deepEqual(scales(plan(one, [set('v1', 4, 4, scale), set('v2', 1, 0, scale)])), []);
  assert.deepEqual(scales(plan(one, [set('v1', 4, 4, scale), set('v2', 1, 1, scale)])), ['w-v1 4->3']);
  const eager = deployment({ replicas: 4, strategy: rolling(0, '50%') });
  const tight = { desired: 4, maximum: 4 };
  assert.deepEqual(scales(plan(eager, [set('v1', 4, 4, tight), set('v2', 0, 0, tight)])), ['w-v1 4->2']);
});

test('old pods that do not work go first', () => {
  const one = deployment({ replicas: 4, strategy: rolling(1, 1) });
  const scale = { desired: 4, maximum: 5 };
  assert.deepEqual(scales(plan(one, [set('v1', 4, 2, scale), set('v2', 1, 1, scale)])), ['w-v1 4->2']);
});

test('Recreate empties the old before it makes the new', () => {
  const one = deployment({ replicas: 3, strategy: { type: 'Recreate' } });
  assert.deepEqual(scales(plan(one, [set('v1', 3, 3, { desired: 3, maximum: 3 })])), ['w-v1 3->0']);
  const after = plan(one, [set('v1', 0, 0, { desired: 3, maximum: 3 })]);
  assert.ok(after[0]?.kind === 'createSet' && after[0].replicas === 3);
});

test('a change of scale in the middle of a rollout is shared out', () => {
  const one = deployment({ replicas: 20, strategy: rolling(0, '25%') });
  const scale = { desired: 10, maximum: 10 };
  const steps = scales(plan(one, [set('v1', 6, 6, scale), set('v2', 4, 4, scale)]));
  assert.deepEqual(steps.sort(), ['w-v1 6->12', 'w-v2 4->8']);
});

test('paused: scaled, but not rolled out', () => {
  const one = deployment({ replicas: 5, paused: true });
  assert.deepEqual(scales(plan(one, [set('v1', 3, 3, { desired: 3, maximum: 4 })])), ['w-v1 3->5']);
});

test('the history keeps as many as asked', () => {
  const one = deployment({ replicas: 1, revisionHistoryLimit: 1 });
  const scale = { desired: 1, maximum: 2 };
  const steps = plan(one, [set('v0', 0, 0, scale), set('v1', 0, 0, scale), set('v2', 1, 1, scale)]);
  assert.deepEqual(
    steps.map((step) => step.kind === 'deleteSet' && step.set.metadata.name),
    ['w-v0'],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CSINode, Node, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from '../../api/index.ts';
import { annotations } from '../volumes/facts.ts';
import { ClusterState } from './cluster-state.ts';
import { type Decision, decide } from './decide.ts';
import { podInfoOf } from './pod-info.ts';
import type { Objects } from './storage-objects.ts';
import { VolumeState } from './volume-state.ts';

const meta = (name: string, more: object = {}) => ({
  ...{ name, uid: `uid-${name}`, resourceVersion: '1', creationTimestamp: '', namespace: 'default' },
  ...more,
});
const nodeOf = (name: string, labels: Record<string, string> = {}): Node => ({
  metadata: meta(name, { labels: { 'kubernetes.io/hostname': name, ...labels } }),
  spec: {},
  status: { allocatable: { cpu: '4', memory: '4Gi', pods: '110' } },
});
const podOf = (name: string, ...claims: string[]): Pod => ({
  metadata: meta(name),
  spec: {
    containers: [{ name: 'c', image: 'i' }],
    volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
  },
});
const claimOf = (name: string, spec: object = {}, more: object = {}): PersistentVolumeClaim => ({
  metadata: meta(name, more),
  spec: {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '1Gi' } },
    storageClassName: 'late',
    ...spec,
  },
});
const bound = (name: string, volumeName: string, spec: object = {}): PersistentVolumeClaim =>
  claimOf(name, { volumeName, ...spec }, { annotations: { [annotations.bindCompleted]: 'yes' } });
const volumeOf = (
  name: string,
  node: string | undefined,
  size: string,
  spec: object = {},
  labels: object = {},
): PersistentVolume => ({
  metadata: meta(name, { labels }),
  spec: {
    ...{ accessModes: ['ReadWriteOnce'], capacity: { storage: size }, storageClassName: 'late' },
    ...(node
      ? {
          nodeAffinity: {
            required: {
              nodeSelectorTerms: [
                { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] },
              ],
            },
          },
        }
      : {}),
    ...spec,
  },
  status: { phase: 'Available' },
});
const late = (fields: object = {}): StorageClass => ({
  metadata: meta('late'),
  ...{ provisioner: 'kubernetes.io/no-provisioner', volumeBindingMode: 'WaitForFirstConsumer', ...fields },
});

function objects<T extends { metadata: { name: string; namespace?: string } }>(
  list: T[],
  namespaced = false,
): Objects<T> {
  const keyOf = ({ metadata }: T) => (namespaced ? `${metadata.namespace}/${metadata.name}` : metadata.name);
  return { list: () => list, get: (key) => list.find((one) => keyOf(one) === key) };
}

function clusterOf(
  nodes: Node[],
  storage: {
    claims?: PersistentVolumeClaim[];
    volumes?: PersistentVolume[];
    classes?: StorageClass[];
    csiNodes?: CSINode[];
  },
) {
  const cluster = new ClusterState();
  for (const node of nodes) cluster.setNode(node.metadata.name, node);
  const all = {
    claims: objects(storage.claims ?? [], true),
    volumes: objects(storage.volumes ?? []),
    classes: objects(storage.classes ?? [late()]),
    csiNodes: objects(storage.csiNodes ?? []),
    ...{ csiDrivers: objects([]), csiCapacities: objects([]) },
  };
  cluster.volumes = new VolumeState(all, () => cluster.nodes.values());
  return cluster;
}
const answer = (decision: Decision): string => (decision.kind === 'place' ? decision.node : decision.message);

test('a pod goes where the volume of its claim is', () => {
  const cluster = clusterOf([nodeOf('a'), nodeOf('b')], {
    claims: [bound('data', 'disk')],
    volumes: [volumeOf('disk', 'b', '1Gi')],
  });
  assert.equal(answer(decide(podInfoOf(podOf('x', 'data')), cluster)), 'b');
  const nowhere = clusterOf([nodeOf('a')], {
    claims: [bound('data', 'disk')],
    volumes: [volumeOf('disk', 'b', '1Gi')],
  });
  assert.match(
    answer(decide(podInfoOf(podOf('x', 'data')), nowhere)),
    /^0\/1 nodes are available: 1 node\(s\) didn't match PersistentVolume's node affinity\. preemption/,
  );
});

test('claims that wait get the smallest volumes of a node, each its own, and what is promised is taken', () => {
  const volumes = [volumeOf('big', 'a', '9Gi'), volumeOf('small', 'a', '1Gi'), volumeOf('tiny', 'a', '1Mi')];
  const cluster = clusterOf([nodeOf('a')], { claims: [claimOf('one'), claimOf('two'), claimOf('three')], volumes });
  const first = podInfoOf(podOf('x', 'one', 'two'));
  assert.equal(answer(decide(first, cluster)), 'a');
  const steps = cluster.volumes!.assume(first, cluster.nodes.get('a')!);
  assert.deepEqual(
    steps.map((step) => [step.claim.metadata.name, step.kind === 'bind' && step.volume.metadata.name]),
    [
      ['one', 'small'],
      ['two', 'big'],
    ],
  );
  const second = podInfoOf(podOf('y', 'three'));
  assert.match(answer(decide(second, cluster)), /1 node\(s\) didn't find available persistent volumes to bind/);
  cluster.volumes!.settle(first.uid);
  assert.equal(answer(decide(second, cluster)), 'a');
});

test('a volume is made only where its class allows, and where it was already asked for', () => {
  const classes = [
    late({
      provisioner: 'x',
      allowedTopologies: [{ matchLabelExpressions: [{ key: 'kubernetes.io/hostname', values: ['b', 'c'] }] }],
    }),
  ];
  const nodes = [nodeOf('a'), nodeOf('b'), nodeOf('c')];
  const free = clusterOf(nodes, { claims: [claimOf('data')], classes });
  const info = podInfoOf(podOf('x', 'data'));
  assert.match(answer(decide(info, free)), /^[bc]$/);
  const asked = clusterOf(nodes, {
    claims: [claimOf('data', {}, { annotations: { [annotations.selectedNode]: 'c' } })],
    classes,
  });
  assert.equal(answer(decide(info, asked)), 'c');
  assert.deepEqual(
    asked.volumes!.assume(info, asked.nodes.get('c')!).map(({ kind }) => kind),
    ['provision'],
  );
});

test('claims that are missing, leaving, lost or unbound hold a pod on every node', () => {
  const message = (claims: PersistentVolumeClaim[], classes?: StorageClass[]) =>
    answer(
      decide(podInfoOf(podOf('x', 'data')), clusterOf([nodeOf('a')], { claims, ...(classes ? { classes } : {}) })),
    );
  const all = (text: string) =>
    `0/1 nodes are available: ${text}. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.`;
  assert.equal(message([]), all('persistentvolumeclaim "data" not found'));
  assert.equal(
    message([claimOf('data', {}, { deletionTimestamp: 'now' })]),
    all('persistentvolumeclaim "data" is being deleted'),
  );
  assert.equal(
    message([{ ...bound('data', 'disk'), status: { phase: 'Lost' } }]),
    all('persistentvolumeclaim "data" bound to non-existent persistentvolume "disk"'),
  );
  assert.equal(
    message([claimOf('data')], [late({ volumeBindingMode: 'Immediate' })]),
    all('pod has unbound immediate PersistentVolumeClaims'),
  );
});

test('a ReadWriteOncePod claim is for one pod of the cluster', () => {
  const claims = [bound('data', 'disk', { accessModes: ['ReadWriteOncePod'] })];
  const cluster = clusterOf([nodeOf('a'), nodeOf('b')], { claims, volumes: [volumeOf('disk', undefined, '1Gi')] });
  cluster.assume(podInfoOf(podOf('owner', 'data')), 'a');
  assert.match(
    answer(decide(podInfoOf(podOf('rival', 'data')), cluster)),
    /2 node\(s\) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode/,
  );
});

test('a node takes no more CSI volumes than its driver said; the same volume counts once', () => {
  const csi = (handle: string) => volumeOf(handle, undefined, '1Gi', { csi: { driver: 'd', volumeHandle: handle } });
  const claims = [bound('one', 'v1'), bound('also-one', 'v1'), bound('two', 'v2')];
  const csiNodes: CSINode[] = [
    { metadata: meta('a'), spec: { drivers: [{ name: 'd', nodeID: 'a', allocatable: { count: 1 } }] } },
  ];
  const cluster = clusterOf([nodeOf('a')], { claims, volumes: [csi('v1'), csi('v2')], csiNodes });
  cluster.assume(podInfoOf(podOf('first', 'one')), 'a');
  assert.equal(answer(decide(podInfoOf(podOf('second', 'also-one')), cluster)), 'a');
  assert.match(answer(decide(podInfoOf(podOf('third', 'two')), cluster)), /1 node\(s\) exceed max volume count/);
});

test('a volume of a zone is for nodes of that zone', () => {
  const zone = 'topology.kubernetes.io/zone';
  const volumes = [volumeOf('disk', undefined, '1Gi', {}, { [zone]: 'east__west' })];
  const cluster = clusterOf([nodeOf('a', { [zone]: 'north' }), nodeOf('b', { [zone]: 'west' })], {
    claims: [bound('data', 'disk')],
    volumes,
  });
  assert.equal(answer(decide(podInfoOf(podOf('x', 'data')), cluster)), 'b');
});

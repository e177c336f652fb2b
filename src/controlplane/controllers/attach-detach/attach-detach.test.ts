import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CSIDriver, Node, PersistentVolume, PersistentVolumeClaim, Pod } from '../../../api/index.ts';
import { attachmentName, decideDetach, multiAttachText, needsVolumes } from './plan.ts';
import { WantedAttachments } from './wanted.ts';

const pod = (name: string, more: object = {}): Pod =>
  ({
    metadata: { name, namespace: 'default', uid: `uid-${name}` },
    spec: { nodeName: 'n', volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'c' } }], ...more },
  }) as Pod;
const claim = { metadata: { name: 'c', uid: 'u' }, spec: { volumeName: 'pv' } } as PersistentVolumeClaim;
const volume = {
  metadata: { name: 'pv' },
  spec: { claimRef: { uid: 'u' }, csi: { driver: 'd', volumeHandle: 'h' }, accessModes: ['ReadWriteOnce'] },
} as unknown as PersistentVolume;

describe('wanted attachments', () => {
  const index = (driver?: object): WantedAttachments =>
    new WantedAttachments({
      claim: (key) => (key === 'default/c' ? claim : undefined),
      volume: (name) => (name === 'pv' ? volume : undefined),
      driver: () => driver as CSIDriver | undefined,
    });

  test('pods that share a volume on a node want one attachment, until the last of them has gone', () => {
    const wanted = index();
    const name = attachmentName('h', 'd', 'n');
    assert.deepEqual([...wanted.follow('default/a', pod('a'))], [name]);
    wanted.follow('default/b', pod('b'));
    assert.deepEqual([...wanted.get(name)!.pods], ['default/a', 'default/b']);
    wanted.follow('default/a', undefined);
    assert.deepEqual([...wanted.get(name)!.pods], ['default/b']);
    wanted.follow('default/b', undefined);
    assert.equal(wanted.get(name), undefined);
  });

  test('following the pods of a claim one after another comes to an end', () => {
    const wanted = index();
    for (const one of ['a', 'b']) wanted.follow(`default/${one}`, pod(one));
    let turns = 0;
    for (const key of wanted.podsOfClaim('default/c')) {
      assert.ok(turns++ < 2);
      wanted.follow(key, pod(key.split('/')[1]!));
    }
    assert.equal(turns, 2);
  });

  test('a driver that needs no attaching and a claim that is not bound want nothing', () => {
    assert.equal(index({ spec: { attachRequired: false } }).follow('default/a', pod('a')).size, 0);
    const other = pod('b', { volumes: [{ name: 'x', persistentVolumeClaim: { claimName: 'other' } }] });
    assert.equal(index().follow('default/b', other).size, 0);
  });
});

test('a pod needs its volumes until it has run its course', () => {
  assert.equal(needsVolumes(pod('a')), true);
  assert.equal(needsVolumes(pod('a', { nodeName: '' })), false);
  assert.equal(needsVolumes({ ...pod('a'), status: { phase: 'Succeeded' } } as Pod), false);
  const going = { ...pod('a'), metadata: { ...pod('a').metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
  const state = (one: object) => ({ ...going, status: { containerStatuses: [{ state: one }] } }) as Pod;
  assert.equal(needsVolumes(state({ running: {} })), true);
  assert.equal(needsVolumes(state({ terminated: {} })), false);
});

test('a volume is detached when its node has it mounted no longer, or cannot say so for too long', () => {
  const node = (inUse: string[], ready: 'True' | 'Unknown', taints: object[] = []): Node =>
    ({ spec: { taints }, status: { volumesInUse: inUse, conditions: [{ type: 'Ready', status: ready }] } }) as Node;
  assert.deepEqual(decideDetach(node([], 'True'), 'v', 0, 1000), { do: 'detach', checkUse: true });
  assert.deepEqual(decideDetach(node(['v'], 'True'), 'v', 5000, 1000), { do: 'wait' });
  assert.deepEqual(decideDetach(node(['v'], 'Unknown'), 'v', 400, 1000), { do: 'wait', ms: 600 });
  assert.deepEqual(decideDetach(node(['v'], 'Unknown'), 'v', 1000, 1000), { do: 'detach', checkUse: false });
  const out = [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }];
  assert.deepEqual(decideDetach(node(['v'], 'Unknown', out), 'v', 0, 1000), { do: 'detach', checkUse: false });
  assert.deepEqual(decideDetach(undefined, 'v', 0, 1000), { do: 'wait', ms: 1000 });
});

test('who may not have a volume is told who has it, by name only in its own namespace', () => {
  const head = 'Multi-Attach error for volume "pv" Volume is already';
  const other = { ...pod('z'), metadata: { ...pod('z').metadata, namespace: 'else' } };
  assert.match(multiAttachText('pv', pod('a'), []), /exclusively attached to one node/);
  assert.equal(
    multiAttachText('pv', pod('a'), [pod('b'), pod('c'), other]),
    `${head} used by pod(s) b, c and 1 pod(s) in different namespaces`,
  );
  assert.equal(multiAttachText('pv', pod('a'), [other]), `${head} used by 1 pod(s) in different namespaces`);
});

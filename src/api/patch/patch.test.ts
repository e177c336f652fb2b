import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch, createMergePatch, PatchError } from './index.ts';

describe('JSON patch', () => {
  const document = { a: { b: [1, 2, 3] }, 'x/y': 1 };
  const apply = (...steps: object[]) => applyJsonPatch(document, steps);

  it('adds, replaces, removes, moves, copies and tests', () => {
    assert.deepEqual(apply({ op: 'add', path: '/a/b/1', value: 9 }), { a: { b: [1, 9, 2, 3] }, 'x/y': 1 });
    assert.deepEqual(apply({ op: 'add', path: '/a/b/-', value: 9 }), { a: { b: [1, 2, 3, 9] }, 'x/y': 1 });
    assert.deepEqual(apply({ op: 'replace', path: '/x~1y', value: 2 }), { a: { b: [1, 2, 3] }, 'x/y': 2 });
    assert.deepEqual(apply({ op: 'remove', path: '/a/b/0' }), { a: { b: [2, 3] }, 'x/y': 1 });
    assert.deepEqual(apply({ op: 'move', from: '/a/b', path: '/c' }), { a: {}, 'x/y': 1, c: [1, 2, 3] });
    assert.deepEqual(apply({ op: 'copy', from: '/x~1y', path: '/c' }), { ...document, c: 1 });
    assert.deepEqual(apply({ op: 'test', path: '/a', value: { b: [1, 2, 3] } }), document);
  });
  it('refuses what misses its target, and leaves the document alone', () => {
    const fails = (code: string, step: object) =>
      assert.throws(
        () => apply({ op: 'remove', path: '/a' }, step),
        (error) => error instanceof PatchError && error.code === code,
      );
    fails('MISSING', { op: 'replace', path: '/zz', value: 1 });
    fails('MISSING', { op: 'remove', path: '/a/b/7' });
    fails('TEST_FAILED', { op: 'test', path: '/x~1y', value: 2 });
    fails('MALFORMED', { op: 'jump', path: '/x' });
    assert.deepEqual(document, { a: { b: [1, 2, 3] }, 'x/y': 1 });
  });
});

describe('merge patch', () => {
  it('merges objects, replaces the rest, deletes with null', () => {
    assert.deepEqual(applyMergePatch({ a: { b: 1, c: 2 }, d: [1] }, { a: { b: null, e: { f: null } }, d: [2] }), {
      a: { c: 2, e: {} },
      d: [2],
    });
  });
  it('is made from two states', () => {
    const before = { a: 1, b: { c: 1, d: 2 }, e: [1] };
    const now = { b: { c: 1, d: 3 }, e: [1, 2], f: 1 };
    assert.deepEqual(applyMergePatch(before, createMergePatch(before, now)), now);
  });
  it('does not pollute prototypes', () => {
    applyMergePatch({}, JSON.parse('{"__proto__":{"polluted":1}}'));
    assert.equal(({} as any).polluted, undefined);
  });
});

describe('strategic merge patch', () => {
  const pod = (...containers: object[]) => ({ spec: { containers } });
  const apply = (object: any, patch: any) => applyStrategicMergePatch(object, patch, 'core.v1.Pod') as any;

  it('merges lists by their key', () => {
    const next = apply(pod({ name: 'a', image: '1', args: ['x'] }, { name: 'b', image: '1' }), {
      spec: {
        containers: [
          { name: 'b', image: '2' },
          { name: 'c', image: '3' },
        ],
      },
    });
    assert.deepEqual(next.spec.containers, [
      { name: 'a', image: '1', args: ['x'] },
      { name: 'b', image: '2' },
      { name: 'c', image: '3' },
    ]);
  });
  it('replaces atomic lists', () => {
    const next = apply(pod({ name: 'a', args: ['x', 'y'] }), { spec: { containers: [{ name: 'a', args: ['z'] }] } });
    assert.deepEqual(next.spec.containers[0].args, ['z']);
  });
  it('deletes and replaces by directive', () => {
    const two = pod({ name: 'a' }, { name: 'b' });
    const gone = apply(two, { spec: { containers: [{ name: 'a', $patch: 'delete' }] } });
    assert.deepEqual(gone.spec.containers, [{ name: 'b' }]);
    const replaced = apply(two, { spec: { containers: [{ $patch: 'replace' }, { name: 'z' }] } });
    assert.deepEqual(replaced.spec.containers, [{ name: 'z' }]);
    const whole = apply({ spec: { nodeName: 'n', hostname: 'h' } }, { spec: { $patch: 'replace', hostname: 'x' } });
    assert.deepEqual(whole.spec, { hostname: 'x' });
  });
  it('keeps the keys that retainKeys names', () => {
    const deployment = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } };
    const patch = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } };
    const next = applyStrategicMergePatch(deployment, patch, 'apps.v1.Deployment') as any;
    assert.deepEqual(next.spec.strategy, { type: 'Recreate' });
  });
  it('deletes from lists of plain values and orders lists', () => {
    const object = { metadata: { finalizers: ['a', 'b', 'c'] } };
    const next = apply(object, { metadata: { '$deleteFromPrimitiveList/finalizers': ['b'], finalizers: ['d'] } });
    assert.deepEqual(next.metadata.finalizers, ['a', 'c', 'd']);
    const ordered = apply(pod({ name: 'a' }, { name: 'sidecar' }, { name: 'b' }), {
      spec: {
        '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }],
        containers: [{ name: 'b', image: '2' }],
      },
    });
    assert.deepEqual(
      ordered.spec.containers.filter((one: any) => one.name !== 'sidecar').map((one: any) => one.name),
      ['b', 'a'],
    );
    assert.equal(ordered.spec.containers.length, 3);
  });
  it('refuses an item without its merge key', () => {
    assert.throws(
      () => apply(pod({ name: 'a' }), { spec: { containers: [{ image: '1' }] } }),
      /does not contain declared merge key: name/,
    );
  });
  it('deletes with null, also in new objects', () => {
    assert.deepEqual(apply({ metadata: { labels: { a: '1' } } }, { metadata: { labels: { a: null, b: '2' } } }), {
      metadata: { labels: { b: '2' } },
    });
    assert.deepEqual(apply({}, { metadata: { labels: { a: null, b: '2' } } }), { metadata: { labels: { b: '2' } } });
  });
});

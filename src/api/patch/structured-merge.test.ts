import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  abandonedFields,
  changedFields,
  emptySet,
  fieldsOf,
  formatFieldsV1,
  layoutOfType,
  mergeStructured,
  parseFieldsV1,
  pathsOf,
  removeFields,
} from './index.ts';

const layout = layoutOfType('core.v1.Pod');

describe('structured merge', () => {
  const config = {
    metadata: { labels: { a: '1' }, finalizers: ['x'] },
    spec: { containers: [{ name: 'c', image: 'i', args: ['1'], ports: [{ containerPort: 80 }] }] },
  };

  it('takes an object apart by its types', () => {
    const set = formatFieldsV1(fieldsOf(config, layout)) as any;
    assert.deepEqual(set['f:metadata'], { 'f:labels': { 'f:a': {} }, 'f:finalizers': { 'v:"x"': {} } });
    const container = set['f:spec']['f:containers']['k:{"name":"c"}'];
    assert.deepEqual(container['f:args'], {});
    assert.ok(container['f:ports']['k:{"containerPort":80,"protocol":"TCP"}']['.']);
    assert.deepEqual(formatFieldsV1(parseFieldsV1(set)), set);
  });
  it('merges keyed lists and sets, replaces atomic ones', () => {
    const live = {
      metadata: { labels: { b: '2' }, finalizers: ['y'] },
      spec: { containers: [{ name: 's' }, { name: 'c', image: 'old', tty: true, args: ['9', '8'] }] },
    };
    const merged = mergeStructured(live, config, layout) as any;
    assert.deepEqual(merged.metadata, { labels: { b: '2', a: '1' }, finalizers: ['y', 'x'] });
    assert.deepEqual(
      merged.spec.containers.map((one: any) => one.name),
      ['s', 'c'],
    );
    assert.deepEqual(merged.spec.containers[1], { ...config.spec.containers[0], tty: true });
  });
  it('takes away what was given up, unless somebody else has it', () => {
    const before = fieldsOf(
      { metadata: { labels: { a: '1', b: '1' } }, spec: { containers: [{ name: 'd', image: 'i' }] } },
      layout,
    );
    const now = fieldsOf({ metadata: { labels: { a: '1' } } }, layout);
    const live = {
      metadata: { labels: { a: '1', b: '1' } },
      spec: { containers: [{ name: 'c' }, { name: 'd', image: 'i' }] },
    };
    const alone = removeFields(live, abandonedFields(before, now, emptySet()), layout) as any;
    assert.deepEqual(alone, { metadata: { labels: { a: '1' } }, spec: { containers: [{ name: 'c' }] } });
    const others = fieldsOf(
      { metadata: { labels: { b: '1' } }, spec: { containers: [{ name: 'd', tty: true }] } },
      layout,
    );
    const shared = removeFields(live, abandonedFields(before, now, others), layout) as any;
    assert.deepEqual(shared.metadata.labels, { a: '1', b: '1' });
    assert.deepEqual(shared.spec.containers[1], { name: 'd' });
  });
  it('finds what changed', () => {
    const paths = pathsOf(
      changedFields(
        { spec: { containers: [{ name: 'a', image: '1' }] } },
        { spec: { containers: [{ name: 'a', image: '2' }], nodeName: 'n' } },
        layout,
      ),
    );
    assert.deepEqual(paths, ['.spec.containers[name="a"].image', '.spec.nodeName']);
  });
});

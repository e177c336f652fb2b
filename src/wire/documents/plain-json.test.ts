import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadYaml, plainJson } from './plain-json.ts';

test('JSON is read; what is something else, broken, or ambiguous is left to a reader of YAML', () => {
  assert.deepEqual(plainJson(' {"a": {"b": "c: d", "e": ["\\":"]}, "f": []}'), { a: { b: 'c: d', e: ['":'] }, f: [] });
  assert.equal(plainJson('{"a": 1, "a": 2}'), undefined);
  assert.equal(plainJson('{"a": {"b": 1, "b": 1}}'), undefined);
  assert.equal(plainJson('a: 1'), undefined);
  assert.equal(plainJson('{a: 1}'), undefined);
  assert.equal(plainJson('{"a": 1'), undefined);
  assert.deepEqual(loadYaml().parse('{a: 1}'), { a: 1 });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { type ApiClient, ApiError } from '../../client/index.ts';
import { createLogger } from '../../log/index.ts';
import { type ChangeDetection, ObjectCache } from './object-cache.ts';

/** An API server with one ConfigMap, which counts how often it was asked. */
function setUp(strategy: ChangeDetection) {
  const state = { text: 'one' as string | undefined, reads: 0 };
  const client = {
    get: async () => {
      state.reads++;
      if (state.text === undefined) throw new ApiError({ metadata: {}, code: 404, reason: 'NotFound' });
      return { metadata: { name: 'map', namespace: 'default' }, data: { text: state.text } };
    },
  } as unknown as ApiClient;
  const clock = new FakeClock();
  const log = createLogger('test', () => {});
  const cache = new ObjectCache(client, { log, clock, strategy, onChange: () => {} });
  const read = async (pod: string) => (await cache.configMap(pod, 'default', 'map'))?.data?.['text'];
  return { state, clock, cache, read };
}

test('with Get every look is a request', async () => {
  const { state, read } = setUp('Get');
  assert.equal(await read('a'), 'one');
  state.text = 'two';
  assert.equal(await read('a'), 'two');
  assert.equal(state.reads, 2);
});

test('with Cache what was read is good for a minute, and a new pod reads anew', async () => {
  const { state, clock, read, cache } = setUp('Cache');
  assert.equal(await read('a'), 'one');
  state.text = 'two';
  assert.equal(await read('a'), 'one');
  assert.equal(await read('b'), 'two');
  assert.equal(await read('a'), 'two', 'what b has read is newer');
  state.text = 'three';
  await clock.advance(60_001);
  assert.equal(await read('a'), 'three');
  cache.release('a');
  cache.release('b');
  state.text = undefined;
  assert.equal(await read('a'), undefined);
  state.text = 'back';
  assert.equal(await read('a'), 'back', 'what was missing is not remembered');
});

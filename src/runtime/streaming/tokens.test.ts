import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { TokenCache } from './tokens.ts';

test('a token works once, and for a minute', async () => {
  const clock = new FakeClock();
  const tokens = new TokenCache<string>(clock);
  const [first, second] = [tokens.insert('a'), tokens.insert('b')];
  assert.equal(tokens.take(first), 'a');
  assert.equal(tokens.take(first), undefined);
  await clock.advance(60_000);
  assert.equal(tokens.take(second), undefined);
});

test('no more than a thousand requests wait', async () => {
  const clock = new FakeClock();
  const tokens = new TokenCache<number>(clock);
  for (let i = 0; i < 1000; i++) tokens.insert(i);
  assert.throws(() => tokens.insert(1000), { code: 'RESOURCE_EXHAUSTED' });
  await clock.advance(60_001);
  tokens.insert(1001);
});

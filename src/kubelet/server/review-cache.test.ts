import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { accessOf } from './authorize.ts';
import { ReviewCache } from './review-cache.ts';

test('answers are kept for their time, questions are shared, failures are asked again', async () => {
  const clock = new FakeClock();
  const cache = new ReviewCache<boolean>(clock, (allowed) => (allowed ? 1000 : 100));
  let asked = 0;
  const ask = (answer: boolean) => async () => {
    asked++;
    return answer;
  };
  assert.deepEqual(await Promise.all([cache.get('a', ask(true)), cache.get('a', ask(true))]), [true, true]);
  assert.equal(asked, 1);
  await cache.get('b', ask(false));
  await clock.advance(500);
  await cache.get('a', ask(false));
  await cache.get('b', ask(true));
  assert.equal(asked, 3, 'the refusal was old, the permission was not');
  await clock.advance(501);
  assert.equal(await cache.get('a', ask(false)), false);
  await assert.rejects(
    cache.get('c', () => Promise.reject(new Error('no answer'))),
    /no answer/,
  );
  assert.equal(await cache.get('c', ask(true)), true);
});

test('each path has its narrow permission and, where older rules know only that, proxy', () => {
  const cases: [string, string, string, string[]][] = [
    ['GET', '/pods', 'get', ['pods', 'proxy']],
    ['GET', '/healthz/syncloop', 'get', ['healthz', 'proxy']],
    ['GET', '/configz', 'get', ['configz', 'proxy']],
    ['GET', '/runningpods/', 'get', ['pods', 'proxy']],
    ['GET', '/metrics/cadvisor', 'get', ['metrics']],
    ['GET', '/stats/summary', 'get', ['stats']],
    ['GET', '/logs/', 'get', ['log']],
    ['POST', '/checkpoint/a/b/c', 'create', ['checkpoint']],
    ['GET', '/statusz', 'get', ['statusz']],
    ['GET', '/flagz', 'get', ['configz']],
    ['POST', '/exec/a/b/c', 'create', ['proxy']],
    ['GET', '/podsearch', 'get', ['proxy']],
    ['PUT', '/debug/flags/v', 'update', ['proxy']],
  ];
  for (const [method, path, verb, subresources] of cases)
    assert.deepEqual(accessOf(method, path.split('/')[1]!), { verb, subresources }, `${method} ${path}`);
});

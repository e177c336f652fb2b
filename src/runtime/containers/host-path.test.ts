import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { Call, withinCall } from '../calls/index.ts';
import { PathLooks } from './host-path.ts';

test('who asks for a path that is looked at waits for the same look', async () => {
  let count = 0;
  const gate = Promise.withResolvers<string>();
  const looks = new PathLooks(() => {
    count++;
    return gate.promise;
  });
  const both = [looks.look('/a'), looks.look('/a')];
  gate.resolve('/real');
  assert.deepEqual(await Promise.all(both), ['/real', '/real']);
  await looks.look('/a');
  assert.equal(count, 2);
});

test('with too many paths that do not answer further ones are refused, until they answer', async () => {
  const clock = new FakeClock(1000);
  const gates = new Map<string, PromiseWithResolvers<string>>();
  const looks = new PathLooks((path) => {
    const gate = Promise.withResolvers<string>();
    gates.set(path, gate);
    return gate.promise;
  });
  const look = (path: string) => withinCall(new Call('CreateContainer', path, clock), () => looks.look(path));
  const stuck = Array.from({ length: 8 }, (_, index) => look(`/dead/${index}`));
  const young = look('/young');
  gates.get('/young')!.resolve('/young');
  assert.equal(await young, '/young');
  await clock.advance(12_000);
  await assert.rejects(look('/more'), {
    code: 'UNAVAILABLE',
    message: 'volume /more is not looked at while 8 others do not answer, such as /dead/0 for 12 s',
  });
  gates.get('/dead/3')!.reject(new Error('gone'));
  await assert.rejects(stuck[3]!, /gone/);
  const more = look('/more');
  gates.get('/more')!.resolve('/more');
  assert.equal(await more, '/more');
});

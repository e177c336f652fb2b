import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { stage } from './call.ts';
import { CallLog } from './call-log.ts';
import { Flights } from './flights.ts';

const caller = () => {
  const controller = new AbortController();
  return { signal: controller.signal, leave: () => controller.abort(new Error('gone')) };
};

function setUp() {
  const clock = new FakeClock(1_000_000);
  const calls = new CallLog(clock);
  const flights = new Flights<string>('sandbox', (left, right) => left === right);
  let made = 0;
  const gates: PromiseWithResolvers<string>[] = [];
  const make = (): Promise<string> => {
    made++;
    const gate = Promise.withResolvers<string>();
    gates.push(gate);
    return stage('set up the network', () => gate.promise);
  };
  const ask = (request: string, who: { signal: AbortSignal; deadlineMs?: number } = caller()) =>
    calls.run('RunPodSandbox', 'pod default/a', who, () =>
      flights.join('a', request, async () => flights.claim('a', request) ?? make()),
    );
  return { clock, calls, flights, gates, ask, made: () => made };
}

test('who asks for what is being made gets the same; it is made once', async () => {
  const { ask, gates, made } = setUp();
  const both = [ask('x'), ask('x')];
  await assert.rejects(ask('y'), { code: 'ALREADY_EXISTS', message: /another configuration/ });
  gates[0]!.resolve('id1');
  assert.deepEqual(await Promise.all(both), ['id1', 'id1']);
  assert.equal(made(), 1);
});

test('a failure is told to all, and the next call tries again', async () => {
  const { ask, gates } = setUp();
  const both = [ask('x'), ask('x')];
  const results = Promise.allSettled(both);
  gates[0]!.reject(new Error('no address left'));
  assert.deepEqual(
    (await results).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  const again = ask('x');
  gates[1]!.resolve('id2');
  assert.equal(await again, 'id2');
});

test('what was made for a caller who had gone is for the one who asks again, once, and only for the same', async () => {
  const { ask, gates, flights, made } = setUp();
  const first = caller();
  const abandoned = ask('x', first);
  first.leave();
  gates[0]!.resolve('id1');
  await abandoned;
  assert.equal(flights.claim('a', 'y'), undefined);
  assert.equal(await ask('x'), 'id1');
  assert.equal(made(), 1);
  assert.equal(flights.claim('a', 'x'), undefined);
});

test('shortly before their deadlines callers are told what the call waits for, the second also of the first', async () => {
  const { ask, clock, gates, calls, made } = setUp();
  const first = assert.rejects(ask('x', { signal: caller().signal, deadlineMs: clock.now() + 60_000 }), {
    code: 'DEADLINE_EXCEEDED',
    message: 'RunPodSandbox of pod default/a is not done: waiting 60 s for set up the network',
  });
  await clock.advance(60_000);
  await first;
  const second = assert.rejects(ask('x', { signal: caller().signal, deadlineMs: clock.now() + 35_000 }), {
    code: 'DEADLINE_EXCEEDED',
    message:
      'RunPodSandbox of pod default/a is not done: waiting 35 s for an earlier call (RunPodSandbox of pod default/a, waiting 95 s for set up the network)',
  });
  await clock.advance(35_000);
  await second;
  const [one] = calls.describe().inFlight as { call: string; callerHasGone: boolean; now: string }[];
  assert.equal(one!.call, 'RunPodSandbox of pod default/a');
  assert.equal(one!.callerHasGone, true);
  gates[0]!.resolve('id1');
  await clock.advance(0);
  assert.equal(await ask('x'), 'id1');
  assert.equal(made(), 1);
  assert.deepEqual(calls.describe().inFlight, []);
  assert.equal(calls.describe().slow.length, 2);
});

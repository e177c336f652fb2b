import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { FakeClock, pollUntil } from '../../async/index.ts';
import { ThreadError, Threads } from './threads.ts';

const clock = new FakeClock();
const module = new URL('./testing/functions.ts', import.meta.url).href;
const threads = new Threads({ module, most: 2, idleMs: 1000, memoryMb: 32, clock });
after(() => threads.close());

async function* pieces(count: number, onSent?: (sent: number) => void): AsyncIterable<Uint8Array> {
  for (let sent = 1; sent <= count; sent++) {
    onSent?.(sent);
    yield new Uint8Array(100_000);
  }
}

test('functions of the module are called elsewhere, several at once, at most so many threads', async () => {
  assert.equal(await threads.run('add', { one: 1, other: 2 }), 3);
  const ids = await Promise.all(Array.from({ length: 6 }, () => threads.run<number>('whichThread', {})));
  assert.ok(ids.every((id) => id > 0));
  assert.equal(new Set(ids).size, 2);
});

test('a source is handed on whole, and no faster than it is taken', async () => {
  assert.equal(await threads.run('count', {}, pieces(50)), 5_000_000);
  let most = 0;
  // It takes one piece and no more: what is on the way is bounded.
  assert.equal(
    await threads.run(
      'takeOne',
      {},
      pieces(1000, (sent) => {
        most = sent;
      }),
    ),
    100_000,
  );
  assert.ok(most < 40, `${most} pieces were sent`);
});

test('what is thrown there comes back with its kind; what the source throws comes back itself', async () => {
  await assert.rejects(threads.run('fail', {}), (error: unknown) => {
    assert.ok(error instanceof ThreadError);
    assert.deepEqual([error.type, error.code, error.message], ['RangeError', 'ENOTHING', 'no']);
    return true;
  });
  const mine = new Error('mine');
  const broken = async function* (): AsyncIterable<Uint8Array> {
    yield* pieces(3);
    throw mine;
  };
  await assert.rejects(threads.run('count', {}, broken()), (error) => error === mine);
});

test('a thread that takes too much memory ends alone', async () => {
  await assert.rejects(threads.run('useMemory', {}), { code: 'ERR_WORKER_OUT_OF_MEMORY' });
  assert.equal(await threads.run('add', { one: 2, other: 2 }), 4);
});

test('threads with nothing to do end after a while, and begin again', async () => {
  const before = await threads.run<number>('whichThread', {});
  await clock.advance(1500);
  let now = before;
  await pollUntil(
    'another thread',
    async () => {
      now = await threads.run<number>('whichThread', {});
      return now !== before;
    },
    { timeoutMs: 5000 },
  );
});

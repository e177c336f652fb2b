import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { ContainerEventResponseSchema } from '../../api/cri/index.ts';
import { EventHub } from './event-hub.ts';

const event = (containerId: string, createdAt = 1n) => create(ContainerEventResponseSchema, { containerId, createdAt });
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Reads until an id, or the end. */
async function read(hub: EventHub, last: string, after?: bigint, signal = new AbortController().signal) {
  const seen: string[] = [];
  for await (const { containerId } of hub.subscribe(signal, after)) {
    seen.push(containerId);
    if (containerId === last) break;
  }
  return seen;
}

test('every listener gets every event in order, from when it began to listen', async () => {
  const hub = new EventHub();
  hub.publish(event('before'));
  const both = [read(hub, 'last'), read(hub, 'last')];
  await turn();
  assert.equal(hub.listeners, 2);
  for (const id of ['a', 'b', 'last']) hub.publish(event(id));
  assert.deepEqual(await Promise.all(both), [
    ['a', 'b', 'last'],
    ['a', 'b', 'last'],
  ]);
  assert.equal(hub.listeners, 0);
});

test('listening ends with the signal', async () => {
  const hub = new EventHub();
  const controller = new AbortController();
  const ended = read(hub, '', undefined, controller.signal);
  await turn();
  controller.abort();
  assert.deepEqual(await ended, []);
});

test('times grow, and with the time of the last event a reader goes on where it stopped', async () => {
  const hub = new EventHub({ kept: 3 });
  const events = ['a', 'b', 'c'].map((id) => event(id, 7n));
  for (const one of events) hub.publish(one);
  assert.deepEqual(
    events.map(({ createdAt }) => createdAt),
    [7n, 8n, 9n],
  );
  assert.deepEqual(await read(hub, 'c', 7n), ['b', 'c']);
  const rest = read(hub, 'd', 9n);
  await turn();
  hub.publish(event('d', 10n));
  assert.deepEqual(await rest, ['d']);
  hub.publish(event('e', 11n));
  await assert.rejects(read(hub, 'e', 7n), { code: 'DATA_LOSS', message: /list, and listen anew/ });
  assert.deepEqual(await read(hub, 'e', 8n), ['c', 'd', 'e']);
});

test('a reader that is too far behind gets what there was, and is told that it missed something', async () => {
  const hub = new EventHub({ behind: 3 });
  const stream = hub.subscribe(new AbortController().signal)[Symbol.asyncIterator]();
  const first = stream.next();
  await turn();
  for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) hub.publish(event(id));
  assert.equal((await first).value?.containerId, 'a');
  const seen = [(await stream.next()).value?.containerId, (await stream.next()).value?.containerId];
  assert.deepEqual(seen, ['b', 'c']);
  await assert.rejects(stream.next(), { code: 'DATA_LOSS', message: /more than 3 behind/ });
});

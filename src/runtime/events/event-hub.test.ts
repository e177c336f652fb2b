import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerEventType } from '../../api/cri/index.ts';
import { EventHub } from './event-hub.ts';

const event = (containerId: string) => ({
  containerId,
  sandboxId: 's',
  type: ContainerEventType.CONTAINER_CREATED_EVENT,
  createdAtNs: 1n,
});

test('every listener gets every event in order, from when it began to listen', async () => {
  const hub = new EventHub();
  const controller = new AbortController();
  hub.publish(event('before'));
  const read = async (): Promise<string[]> => {
    const ids: string[] = [];
    for await (const { containerId } of hub.subscribe(controller.signal)) {
      ids.push(containerId);
      if (containerId === 'last') break;
    }
    return ids;
  };
  const both = [read(), read()];
  await new Promise((resolve) => setImmediate(resolve));
  for (const id of ['a', 'b', 'last']) hub.publish(event(id));
  assert.deepEqual(await Promise.all(both), [
    ['a', 'b', 'last'],
    ['a', 'b', 'last'],
  ]);
});

test('listening ends with the signal', async () => {
  const hub = new EventHub();
  const controller = new AbortController();
  const ended = (async () => {
    for await (const _ of hub.subscribe(controller.signal)) assert.fail('there was no event');
  })();
  await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  await ended;
});

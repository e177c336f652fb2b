import assert from 'node:assert/strict';
import { type ContainerEventResponse, ContainerEventType, ContainerState } from '../../../../src/api/cri/index.ts';
import { pollUntil } from '../../../../src/async/index.ts';
import type { Topic } from '../behaviour.ts';
import type { Cri } from '../cri.ts';

/** Listens from when it resolves; `events` grows. */
async function listen(cri: Cri): Promise<{ events: ContainerEventResponse[]; stop: () => Promise<void> }> {
  const controller = new AbortController();
  const events: ContainerEventResponse[] = [];
  const reading = (async () => {
    for await (const event of cri.runtime.getContainerEvents({}, { signal: controller.signal })) events.push(event);
  })().catch(() => {});
  // The stream is open when it brings the events of a sandbox of ours.
  await using probe = await cri.pod();
  await pollUntil(
    'the stream of events',
    async () => {
      if (events.some(({ containerId }) => containerId === probe.id)) return true;
      await (await probe.create()).remove();
      return undefined;
    },
    { timeoutMs: 10_000, intervalMs: 50 },
  );
  return {
    events,
    stop: async () => {
      controller.abort();
      await reading;
    },
  };
}

const kinds = (events: ContainerEventResponse[], id: string) =>
  events
    .filter(({ containerId }) => containerId === id)
    .map(({ containerEventType: type }) => ContainerEventType[type].replace(/^CONTAINER_|_EVENT$/g, ''));

/** What runtimes tell without being asked. */
export const events: Topic = [
  'events',
  [
    {
      name: 'the life of a container and of its sandbox, in order, with statuses',
      needs: ['events'],
      async run(cri) {
        const { events, stop } = await listen(cri);
        const pod = await cri.pod();
        const container = await pod.run({ command: ['sh', '-c', 'exit 3'] });
        await container.exited();
        await pod.stop();
        await pod.remove();
        await pollUntil('the last event', () => kinds(events, pod.id).includes('DELETED'), { timeoutMs: 5000 });
        await stop();
        assert.deepEqual(kinds(events, container.id), ['CREATED', 'STARTED', 'STOPPED', 'DELETED']);
        assert.deepEqual(kinds(events, pod.id), ['CREATED', 'STARTED', 'STOPPED', 'DELETED']);
        const own = events.filter(({ containerId }) => containerId === container.id);
        const stopped = own.find(
          ({ containerEventType: type }) => type === ContainerEventType.CONTAINER_STOPPED_EVENT,
        )!;
        assert.equal(stopped.podSandboxStatus!.metadata!.uid, pod.config.metadata!.uid);
        const [status] = stopped.containersStatuses;
        assert.deepEqual(
          [status!.id, status!.state, status!.exitCode],
          [container.id, ContainerState.CONTAINER_EXITED, 3],
        );
        const times = events.map(({ createdAt }) => createdAt);
        assert.ok(times.every((time, index) => index === 0 || time >= times[index - 1]!));
      },
    },
    {
      name: 'two listeners hear the same in the same order',
      needs: ['events'],
      async run(cri) {
        const both = [await listen(cri), await listen(cri)];
        await using pod = await cri.pod();
        const containers = await Promise.all(Array.from({ length: 5 }, () => pod.run({ command: ['true'] })));
        await Promise.all(containers.map((container) => container.exited()));
        const heard = (events: ContainerEventResponse[]) =>
          events
            .filter(({ containerId }) => containers.some(({ id }) => id === containerId))
            .map(({ containerId, containerEventType }) => `${containerId} ${containerEventType}`);
        await pollUntil('all events', () => both.every(({ events }) => heard(events).length >= 15), {
          timeoutMs: 5000,
        });
        assert.deepEqual(heard(both[0]!.events), heard(both[1]!.events));
        for (const one of both) await one.stop();
      },
    },
    {
      name: 'no end of many short lives is lost',
      needs: ['events'],
      async run(cri) {
        const { events, stop } = await listen(cri);
        await using pod = await cri.pod();
        const started: string[] = [];
        for (let round = 0; round < 3; round++) {
          const batch = await Promise.all(Array.from({ length: 8 }, () => pod.run({ command: ['true'] })));
          started.push(...batch.map(({ id }) => id));
        }
        await pollUntil('every end', () => started.every((id) => kinds(events, id).includes('STOPPED')), {
          timeoutMs: 20_000,
        });
        for (const id of started) assert.deepEqual(kinds(events, id), ['CREATED', 'STARTED', 'STOPPED']);
        await stop();
      },
    },
    {
      name: 'one who comes back gets what happened meanwhile',
      needs: ['events', 'event-replay'],
      async run(cri) {
        const { events, stop } = await listen(cri);
        await stop();
        const last = events.at(-1)!.createdAt;
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['true'] });
        await container.exited();
        const controller = new AbortController();
        const seen: ContainerEventResponse[] = [];
        const metadata = { 'deckhand-events-after': String(last) };
        const reading = (async () => {
          for await (const event of cri.runtime.getContainerEvents({}, { signal: controller.signal, metadata }))
            seen.push(event);
        })().catch(() => {});
        await pollUntil('the missed events', () => kinds(seen, container.id).length >= 3, { timeoutMs: 5000 });
        controller.abort();
        await reading;
        assert.deepEqual(kinds(seen, container.id), ['CREATED', 'STARTED', 'STOPPED']);
        assert.ok(seen.every(({ createdAt }) => createdAt > last));
      },
    },
  ],
];

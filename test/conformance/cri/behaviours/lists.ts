import assert from 'node:assert/strict';
import { ContainerState, PodSandboxState } from '../../../../src/api/cri/index.ts';
import type { Topic } from '../behaviour.ts';

const ids = (list: readonly { id: string }[]) => list.map(({ id }) => id).sort();

/** Gathers a streaming list. */
async function gather<T, R>(stream: AsyncIterable<T>, pick: (part: T) => R[]): Promise<R[]> {
  const all: R[] = [];
  for await (const part of stream) all.push(...pick(part));
  return all;
}

/** What lists show, whole and in parts. */
export const lists: Topic = [
  'lists',
  [
    {
      name: 'sandboxes by id, by the beginning of an id, by state, by labels, and by all together',
      async run(cri) {
        const group = cri.unique('group');
        await using one = await cri.pod({ labels: { group, n: '1' } });
        await using two = await cri.pod({ labels: { group, n: '2' } });
        await two.stop();
        const list = async (filter: object) => ids((await cri.runtime.listPodSandbox({ filter })).items);
        const labelSelector = { group };
        assert.deepEqual(await list({ labelSelector }), ids([one, two]));
        assert.deepEqual(await list({ labelSelector: { group, n: '1' } }), [one.id]);
        assert.deepEqual(await list({ id: one.id }), [one.id]);
        assert.deepEqual(await list({ id: one.id.slice(0, 13) }), [one.id]);
        assert.deepEqual(await list({ labelSelector, state: { state: PodSandboxState.SANDBOX_NOTREADY } }), [two.id]);
        assert.deepEqual(await list({ id: one.id, state: { state: PodSandboxState.SANDBOX_NOTREADY } }), []);
        assert.deepEqual(await list({ id: 'nothing' }), []);
        const all = ids((await cri.runtime.listPodSandbox({})).items);
        assert.ok(all.includes(one.id) && all.includes(two.id));
      },
    },
    {
      name: 'containers by id, by the beginning of an id, by state, by sandbox, by labels',
      async run(cri) {
        const group = cri.unique('group');
        await using pod = await cri.pod();
        const running = await pod.run({ labels: { group, n: '1' } });
        const created = await pod.create({ labels: { group, n: '2' } });
        const ended = await pod.run({ labels: { group, n: '3' }, command: ['true'] });
        await ended.exited();
        const list = async (filter: object) => ids((await cri.runtime.listContainers({ filter })).containers);
        assert.deepEqual(await list({ podSandboxId: pod.id }), ids([running, created, ended]));
        assert.deepEqual(await list({ podSandboxId: pod.id.slice(0, 13) }), ids([running, created, ended]));
        assert.deepEqual(await list({ labelSelector: { group } }), ids([running, created, ended]));
        assert.deepEqual(await list({ labelSelector: { group, n: '2' } }), [created.id]);
        assert.deepEqual(await list({ id: ended.id.slice(0, 13) }), [ended.id]);
        const state = (which: ContainerState) => list({ podSandboxId: pod.id, state: { state: which } });
        assert.deepEqual(await state(ContainerState.CONTAINER_RUNNING), [running.id]);
        assert.deepEqual(await state(ContainerState.CONTAINER_CREATED), [created.id]);
        assert.deepEqual(await state(ContainerState.CONTAINER_EXITED), [ended.id]);
        assert.deepEqual(await list({ podSandboxId: 'nothing' }), []);
      },
    },
    {
      name: 'calls take the beginning of an id too',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const [podSandboxId, containerId] = [pod.id.slice(0, 13), container.id.slice(0, 13)];
        assert.equal((await cri.runtime.podSandboxStatus({ podSandboxId })).status!.id, pod.id);
        assert.equal((await cri.runtime.containerStatus({ containerId })).status!.id, container.id);
        assert.equal((await cri.runtime.execSync({ containerId, cmd: ['true'], timeout: 10n })).exitCode, 0);
        await cri.runtime.stopContainer({ containerId, timeout: 0n });
        await cri.runtime.removeContainer({ containerId });
        await cri.runtime.stopPodSandbox({ podSandboxId });
        await cri.runtime.removePodSandbox({ podSandboxId });
      },
    },
    {
      name: 'streamed lists of sandboxes, containers, images and stats hold what the plain ones hold',
      needs: ['stream-lists'],
      async run(cri) {
        const labelSelector = { group: cri.unique('group') };
        await using pod = await cri.pod({ labels: labelSelector });
        const container = await pod.run({ labels: labelSelector });
        const filter = { labelSelector };
        const { runtime, images } = cri;
        assert.deepEqual(ids(await gather(runtime.streamPodSandboxes({ filter }), (part) => part.podSandboxes)), [
          pod.id,
        ]);
        assert.deepEqual(ids(await gather(runtime.streamContainers({ filter }), (part) => part.containers)), [
          container.id,
        ]);
        const stats = await gather(runtime.streamContainerStats({ filter }), (part) => part.containerStats);
        assert.deepEqual(
          stats.map(({ attributes }) => attributes!.id),
          [container.id],
        );
        const podStats = await gather(runtime.streamPodSandboxStats({ filter }), (part) => part.podSandboxStats);
        assert.deepEqual(
          podStats.map(({ attributes }) => attributes!.id),
          [pod.id],
        );
        const metrics = await gather(runtime.streamPodSandboxMetrics({}), (part) => part.podSandboxMetrics);
        assert.ok(metrics.some(({ podSandboxId }) => podSandboxId === pod.id));
        const image = { image: String(pod.containerConfig().image!.image) };
        const streamed = await gather(images.streamImages({ filter: { image } }), (part) => part.images);
        assert.deepEqual(ids(streamed), ids((await images.listImages({ filter: { image } })).images));
        assert.equal(streamed.length, 1);
      },
    },
    {
      name: 'a streamed list may be larger than a message; the plain one then fails clearly',
      needs: ['stream-lists'],
      alone: true,
      async run(cri) {
        const labels = { group: cri.unique('group') };
        const annotations = { large: 'x'.repeat(1 << 20) };
        const pods = await Promise.all(Array.from({ length: 17 }, () => cri.pod({ labels, annotations })));
        try {
          const filter = { labelSelector: labels };
          const all = await gather(cri.runtime.streamPodSandboxes({ filter }), (part) => part.podSandboxes);
          assert.deepEqual(ids(all), ids(pods));
          await assert.rejects(cri.runtime.listPodSandbox({ filter }), { code: 'RESOURCE_EXHAUSTED' });
        } finally {
          await Promise.all(pods.map((pod) => pod[Symbol.asyncDispose]()));
        }
      },
    },
    {
      name: 'a list of 12 MiB is one message',
      alone: true,
      async run(cri) {
        const labels = { group: cri.unique('group') };
        const annotations = { large: 'x'.repeat(3 << 20) };
        const pods = await Promise.all(Array.from({ length: 4 }, () => cri.pod({ labels, annotations })));
        try {
          const { items } = await cri.runtime.listPodSandbox({ filter: { labelSelector: labels } });
          assert.deepEqual(ids(items), ids(pods));
        } finally {
          await Promise.all(pods.map((pod) => pod[Symbol.asyncDispose]()));
        }
      },
    },
  ],
];

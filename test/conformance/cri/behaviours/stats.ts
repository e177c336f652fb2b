import assert from 'node:assert/strict';
import { pollUntil } from '../../../../src/async/index.ts';
import type { Topic } from '../behaviour.ts';
import { fails, notNow } from '../expect.ts';

/** What things use. */
export const stats: Topic = [
  'stats',
  [
    {
      name: 'a container’s CPU, memory and disk',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ labels: { a: '1' }, annotations: { b: '2' } });
        await container.sh('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done');
        const { attributes, cpu, memory } = await container.stats();
        assert.equal(attributes!.id, container.id);
        assert.equal(attributes!.metadata!.name, container.config.metadata!.name);
        assert.deepEqual([attributes!.labels, attributes!.annotations], [{ a: '1' }, { b: '2' }]);
        assert.ok(cpu!.usageCoreNanoSeconds!.value > 0n && cpu!.timestamp > 0n);
        assert.ok(memory!.workingSetBytes!.value > 0n && memory!.timestamp > 0n);
      },
    },
    {
      name: 'the rate of CPU use is told when it was seen twice',
      needs: ['pod-stats'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['sh', '-c', 'while :; do :; done'] });
        const rate = await pollUntil(
          'a rate',
          async () => (await container.stats()).cpu!.usageNanoCores?.value || undefined,
          { timeoutMs: 25_000, intervalMs: 250 },
        );
        assert.ok(rate > 1_000_000n && rate < 8_000_000_000n, String(rate));
      },
    },
    {
      name: 'what is written to the writable layer is counted',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        await container.sh('dd if=/dev/zero of=/file bs=1M count=3 2>/dev/null; sync');
        const bytes = await pollUntil(
          'the written bytes',
          async () => {
            const layer = (await container.stats()).writableLayer;
            return layer && layer.usedBytes!.value >= 3n << 20n && layer;
          },
          { timeoutMs: 30_000, intervalMs: 250 },
        );
        assert.ok(bytes.inodesUsed!.value > 0n && bytes.fsId!.mountpoint.startsWith('/'));
      },
    },
    {
      name: 'lists of stats by id, by sandbox and by labels; containers that do not run have none',
      async run(cri) {
        const group = cri.unique('group');
        await using pod = await cri.pod();
        const one = await pod.run({ labels: { group } });
        const two = await pod.run({ labels: { group, n: '2' } });
        const created = await pod.create({ labels: { group } });
        const list = async (filter: object) =>
          (await cri.runtime.listContainerStats({ filter })).stats.map(({ attributes }) => attributes!.id).sort();
        assert.deepEqual(await list({ podSandboxId: pod.id }), [one.id, two.id].sort());
        assert.deepEqual(await list({ labelSelector: { group } }), [one.id, two.id].sort());
        assert.deepEqual(await list({ labelSelector: { group, n: '2' } }), [two.id]);
        assert.deepEqual(await list({ id: one.id }), [one.id]);
        assert.deepEqual(await list({ id: created.id }), []);
        const all = (await cri.runtime.listContainerStats({})).stats.map(({ attributes }) => attributes!.id);
        assert.ok(all.includes(one.id) && all.includes(two.id));
        await fails(cri.runtime.containerStats({ containerId: 'nothing' }), ['NOT_FOUND']);
      },
    },
    {
      name: 'a sandbox’s CPU, memory, network and processes, and its containers',
      needs: ['pod-stats'],
      async run(cri) {
        await using pod = await cri.pod({ labels: { a: '1' } });
        const container = await pod.run();
        const { attributes, linux } = (await cri.runtime.podSandboxStats({ podSandboxId: pod.id })).stats!;
        assert.equal(attributes!.id, pod.id);
        assert.equal(attributes!.metadata!.name, pod.config.metadata!.name);
        assert.ok(linux!.cpu!.usageCoreNanoSeconds!.value > 0n);
        assert.ok(linux!.memory!.workingSetBytes!.value > 0n);
        const { defaultInterface } = linux!.network!;
        assert.equal(defaultInterface!.name, 'eth0');
        assert.ok(defaultInterface!.rxBytes!.value >= 0n && defaultInterface!.txBytes!.value >= 0n);
        assert.ok(linux!.process!.processCount!.value >= 1n);
        assert.deepEqual(
          linux!.containers.map((one) => one.attributes!.id),
          [container.id],
        );
        await pod.stop();
        await fails(cri.runtime.podSandboxStats({ podSandboxId: pod.id }), [...notNow, 'NOT_FOUND']);
      },
    },
    {
      name: 'lists of sandboxes’ stats by id and labels',
      needs: ['pod-stats'],
      async run(cri) {
        const group = cri.unique('group');
        await using one = await cri.pod({ labels: { group } });
        await using two = await cri.pod({ labels: { group, n: '2' } });
        const list = async (filter: object) =>
          (await cri.runtime.listPodSandboxStats({ filter })).stats.map(({ attributes }) => attributes!.id).sort();
        assert.deepEqual(await list({ labelSelector: { group } }), [one.id, two.id].sort());
        assert.deepEqual(await list({ labelSelector: { group, n: '2' } }), [two.id]);
        assert.deepEqual(await list({ id: one.id }), [one.id]);
        await fails(cri.runtime.podSandboxStats({ podSandboxId: 'nothing' }), ['NOT_FOUND']);
      },
    },
    {
      name: 'metrics: every value has a descriptor with help and as many labels',
      needs: ['metrics'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const { descriptors } = await cri.runtime.listMetricDescriptors({});
        const byName = new Map(descriptors.map((one) => [one.name, one]));
        assert.ok(descriptors.length >= 40);
        assert.ok(descriptors.every(({ help, labelKeys }) => help && labelKeys.length > 0));
        const { podMetrics } = await cri.runtime.listPodSandboxMetrics({});
        const own = podMetrics.find(({ podSandboxId }) => podSandboxId === pod.id)!;
        const ofContainer = own.containerMetrics.find(({ containerId }) => containerId === container.id)!;
        const rows = [...own.metrics, ...ofContainer.metrics];
        assert.ok(rows.length > 20);
        for (const { name, labelValues, value, timestamp } of rows) {
          assert.equal(labelValues.length, byName.get(name)?.labelKeys.length, name);
          assert.ok(value && timestamp >= 0n, name);
        }
      },
    },
  ],
];

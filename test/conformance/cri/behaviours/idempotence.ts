import assert from 'node:assert/strict';
import { ContainerState, RuntimeService } from '../../../../src/api/cri/index.ts';
import { createGrpcClient } from '../../../../src/wire/grpc/index.ts';
import type { Topic } from '../behaviour.ts';
import { fails, notNow } from '../expect.ts';

/** Calls that come twice, at once, or too late. */
export const idempotence: Topic = [
  'idempotence',
  [
    {
      name: 'the stop and the removal of what is not there are no errors',
      async run({ runtime }) {
        await runtime.stopPodSandbox({ podSandboxId: 'nothing' });
        await runtime.removePodSandbox({ podSandboxId: 'nothing' });
        await runtime.stopContainer({ containerId: 'nothing', timeout: 0n });
        await runtime.removeContainer({ containerId: 'nothing' });
      },
    },
    {
      name: 'sandboxes and containers may be stopped and removed again',
      async run(cri) {
        const pod = await cri.pod();
        const container = await pod.run();
        await container.stop(0);
        await container.stop(0);
        await container.remove();
        await container.remove();
        await container.stop(0);
        await pod.stop();
        await pod.stop();
        await pod.remove();
        await pod.remove();
        await pod.stop();
      },
    },
    {
      name: 'the stop of a container that ended or never started is no error',
      async run(cri) {
        await using pod = await cri.pod();
        const ended = await pod.run({ command: ['true'] });
        await ended.exited();
        await ended.stop(5);
        const created = await pod.create();
        await created.stop(0);
        assert.notEqual((await created.status()).state, ContainerState.CONTAINER_RUNNING);
      },
    },
    {
      name: 'stops and removals at once all succeed',
      async run(cri) {
        const pod = await cri.pod();
        const container = await pod.run();
        await Promise.all([container.stop(0), container.stop(0), container.stop(5)]);
        assert.equal((await container.status()).state, ContainerState.CONTAINER_EXITED);
        await Promise.all([pod.stop(), pod.stop(), pod.stop()]);
        await Promise.all([pod.remove(), pod.remove()]);
        await fails(pod.status(), ['NOT_FOUND']);
      },
    },
    {
      name: 'of two starts at once one succeeds',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.create();
        const results = await Promise.allSettled([container.start(), container.start()]);
        assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
        assert.equal((await container.status()).state, ContainerState.CONTAINER_RUNNING);
        await fails(container.start(), notNow);
      },
    },
    {
      name: 'a second call for what is being made joins the first and gets the same id',
      async run(cri) {
        const config = cri.podConfig();
        const ids = await Promise.all(
          Array.from({ length: 4 }, async () => (await cri.runtime.runPodSandbox({ config })).podSandboxId),
        );
        assert.equal(new Set(ids).size, 1);
        const podSandboxId = ids[0]!;
        const container = {
          metadata: { name: 'same', attempt: 0 },
          image: { image: (await import('../cri.ts')).busybox },
        };
        const request = { podSandboxId, config: container, sandboxConfig: config };
        const made = await Promise.all(
          Array.from({ length: 4 }, async () => (await cri.runtime.createContainer(request)).containerId),
        );
        assert.equal(new Set(made).size, 1);
        await cri.runtime.stopPodSandbox({ podSandboxId });
        await cri.runtime.removePodSandbox({ podSandboxId });
      },
    },
    {
      name: 'a name is free again after a failure, and after a removal',
      async run(cri) {
        await using pod = await cri.pod();
        const metadata = { name: 'free', attempt: 0 };
        await fails(pod.create({ metadata, image: { image: 'registry.k8s.io/not/pulled:1' } }), [
          'NOT_FOUND',
          'UNKNOWN',
        ]);
        const container = await pod.create({ metadata });
        await container.remove();
        await pod.create({ metadata });
        await fails(
          cri.runtime.runPodSandbox({
            config: { ...pod.config, metadata: { ...pod.config.metadata, attempt: 5 }, hostname: 'x'.repeat(80) },
          }),
          ['INVALID_ARGUMENT', 'UNKNOWN'],
        );
        const { podSandboxId } = await cri.runtime.runPodSandbox({
          config: { ...pod.config, metadata: { ...pod.config.metadata, attempt: 5 } },
        });
        await cri.runtime.stopPodSandbox({ podSandboxId });
        await cri.runtime.removePodSandbox({ podSandboxId });
      },
    },
    {
      name: 'a caller who left gets the sandbox when it asks again',
      async run(cri) {
        const config = cri.podConfig();
        await cri.runtime.runPodSandbox({ config }, { timeoutMs: 1 }).catch(() => {});
        const { podSandboxId } = await cri.runtime.runPodSandbox({ config });
        const { items } = await cri.runtime.listPodSandbox({ filter: {} });
        assert.equal(items.filter(({ metadata }) => metadata!.uid === config.metadata!.uid).length, 1);
        await cri.runtime.stopPodSandbox({ podSandboxId });
        await cri.runtime.removePodSandbox({ podSandboxId });
      },
    },
    {
      name: 'two clients see the same',
      async run(cri) {
        const other = createGrpcClient(RuntimeService, cri.endpoint);
        try {
          await using pod = await cri.pod();
          assert.equal((await other.podSandboxStatus({ podSandboxId: pod.id })).status!.id, pod.id);
          const container = await pod.run();
          await other.stopContainer({ containerId: container.id, timeout: 0n });
          assert.equal((await container.status()).state, ContainerState.CONTAINER_EXITED);
          await other.removePodSandbox({ podSandboxId: pod.id }).catch(async () => {
            await other.stopPodSandbox({ podSandboxId: pod.id });
            await other.removePodSandbox({ podSandboxId: pod.id });
          });
          await fails(pod.status(), ['NOT_FOUND']);
        } finally {
          other.close();
        }
      },
    },
    {
      name: 'sixteen sandboxes at once, with a container each, come and go',
      alone: true,
      async run(cri) {
        await Promise.all(
          Array.from({ length: 16 }, async (_, index) => {
            await using pod = await cri.pod();
            const { output } = await pod.script(`echo ${index}`);
            assert.equal(output, `${index}\n`);
          }),
        );
      },
    },
  ],
];

import type { Topic } from '../behaviour.ts';
import { fails, notNow, refused } from '../expect.ts';

/** Codes of calls that cannot succeed. */
export const errors: Topic = [
  'errors',
  [
    {
      name: 'every call about a container that is not there says NOT_FOUND and names it',
      async run({ runtime }) {
        const containerId = 'f00f00f00f00';
        await fails(runtime.containerStatus({ containerId }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(runtime.startContainer({ containerId }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(runtime.execSync({ containerId, cmd: ['true'] }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(runtime.exec({ containerId, cmd: ['true'], stdout: true }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(runtime.attach({ containerId, stdout: true }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(runtime.containerStats({ containerId }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(runtime.reopenContainerLog({ containerId }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(
          runtime.updateContainerResources({ containerId, linux: { cpuShares: 2n } }),
          ['NOT_FOUND'],
          /f00f00f00f00/,
        );
      },
    },
    {
      name: 'every call about a sandbox that is not there says NOT_FOUND and names it',
      async run({ runtime }) {
        const podSandboxId = 'f00f00f00f00';
        await fails(runtime.podSandboxStatus({ podSandboxId }), ['NOT_FOUND'], /f00f00f00f00/);
        await fails(runtime.portForward({ podSandboxId, port: [1] }), ['NOT_FOUND'], /f00f00f00f00/);
        const config = { metadata: { name: 'x', attempt: 0 }, image: { image: 'x' } };
        await fails(
          runtime.createContainer({ podSandboxId, config, sandboxConfig: {} }),
          ['NOT_FOUND'],
          /f00f00f00f00/,
        );
      },
    },
    {
      name: 'a checkpoint of what is not there says NOT_FOUND, or that it cannot be done at all',
      async run({ runtime }) {
        await fails(runtime.checkpointContainer({ containerId: 'f00f00f00f00', location: '/tmp/none.tar' }), [
          'NOT_FOUND',
          'UNIMPLEMENTED',
        ]);
      },
    },
    {
      name: 'without criu a checkpoint says UNIMPLEMENTED and why',
      needs: ['deckhand'],
      async run(cri) {
        if (cri.features.has('checkpoint')) return;
        await using pod = await cri.pod();
        const container = await pod.run();
        await fails(
          cri.runtime.checkpointContainer({ containerId: container.id, location: '/tmp/none.tar' }),
          ['UNIMPLEMENTED'],
          /criu/i,
        );
      },
    },
    {
      name: 'the wrong state is FAILED_PRECONDITION, and the message says which state',
      needs: ['deckhand'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['true'] });
        await container.exited();
        await fails(container.start(), ['FAILED_PRECONDITION'], /exited/);
        await fails(
          cri.runtime.execSync({ containerId: container.id, cmd: ['true'] }),
          ['FAILED_PRECONDITION'],
          /CONTAINER_EXITED/,
        );
        await fails(
          cri.runtime.reopenContainerLog({ containerId: container.id }),
          ['FAILED_PRECONDITION'],
          /not running/,
        );
      },
    },
    {
      name: 'a taken name is ALREADY_EXISTS, and the message says who has it',
      needs: ['deckhand'],
      async run(cri) {
        await using pod = await cri.pod();
        await fails(cri.runtime.runPodSandbox({ config: pod.config }), ['ALREADY_EXISTS'], new RegExp(pod.id));
        const metadata = { name: 'x', attempt: 0 };
        const container = await pod.create({ metadata });
        await fails(pod.create({ metadata }), ['ALREADY_EXISTS'], new RegExp(container.id));
      },
    },
    {
      name: 'fields that have no meaning on Linux are refused when they are set',
      needs: ['deckhand'],
      async run(cri) {
        await fails(cri.pod({ windows: { securityContext: { hostProcess: true } } }), ['INVALID_ARGUMENT'], /windows/i);
        await using pod = await cri.pod();
        await fails(
          pod.create({ windows: { securityContext: { runAsUsername: 'x' } } }),
          ['INVALID_ARGUMENT'],
          /windows/i,
        );
        await fails(
          cri.runtime.updateContainerResources({ containerId: (await pod.run()).id, windows: { cpuShares: 3n } }),
          ['INVALID_ARGUMENT'],
          /windows/i,
        );
      },
    },
    {
      name: 'numbers that no enumeration has are refused',
      needs: ['deckhand'],
      async run(cri) {
        const options = (more: object) => ({ linux: { securityContext: { namespaceOptions: more as never } } });
        await fails(cri.pod(options({ network: 9 })), refused, /network/);
        await fails(cri.pod(options({ pid: 9 })), refused, /pid/i);
        await fails(cri.pod(options({ ipc: 9 })), refused, /ipc/i);
        await using pod = await cri.pod();
        await fails(pod.create({ stopSignal: 999 as never }), refused, /signal/i);
        await fails(
          pod.create({ mounts: [{ hostPath: '/tmp', containerPath: '/x', propagation: 9 as never }] }),
          refused,
          /propagation/i,
        );
        await fails(
          pod.create({ linux: { securityContext: { seccomp: { profileType: 9 as never } } } }),
          refused,
          /seccomp/i,
        );
      },
    },
    {
      name: 'an ambiguous beginning of an id is not taken for one',
      async run(cri) {
        await using pod = await cri.pod();
        await using other = await cri.pod();
        await fails(cri.runtime.podSandboxStatus({ podSandboxId: '' }), ['NOT_FOUND', ...refused]);
        await fails(cri.runtime.containerStatus({ containerId: '' }), ['NOT_FOUND', ...refused]);
        await fails(cri.runtime.startContainer({ containerId: pod.id.length > 0 ? other.id : '' }), [
          'NOT_FOUND',
          ...notNow,
        ]);
      },
    },
  ],
];

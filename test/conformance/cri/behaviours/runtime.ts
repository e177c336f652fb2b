import assert from 'node:assert/strict';
import { isAbsolute } from 'node:path';
import { CgroupDriver } from '../../../../src/api/cri/index.ts';
import type { Topic } from '../behaviour.ts';

/** What a runtime says about itself. */
export const runtime: Topic = [
  'runtime',
  [
    {
      name: 'the version has every field',
      async run({ runtime }) {
        const version = await runtime.version({ version: 'v1' });
        assert.equal(version.runtimeApiVersion, 'v1');
        assert.ok(version.version && version.runtimeName && version.runtimeVersion);
      },
    },
    {
      name: 'the status says that runtime and network are ready',
      async run({ runtime }) {
        const { status, info } = await runtime.status({});
        const ready = new Map(status!.conditions.map((one) => [one.type, one.status]));
        assert.deepEqual([ready.get('RuntimeReady'), ready.get('NetworkReady')], [true, true]);
        assert.deepEqual(info, {});
      },
    },
    {
      name: 'the verbose status holds the configuration as JSON, with the state directory',
      async run({ runtime }) {
        const { info } = await runtime.status({ verbose: true });
        const config = JSON.parse(info['config']!);
        assert.ok(isAbsolute(config.stateDir), `stateDir is ${config.stateDir}`);
      },
    },
    {
      name: 'the verbose status tells what goes on, and versions of the programs used',
      needs: ['deckhand'],
      async run({ runtime }) {
        const { info } = await runtime.status({ verbose: true });
        const calls = JSON.parse(info['calls']!);
        assert.ok(calls.inFlight.some(({ call }: { call: string }) => call === 'Status'));
        const versions = JSON.parse(info['versions']!);
        assert.match(versions.conmon, /conmon version/);
        assert.ok(Object.keys(versions.runtimes).length > 0);
      },
    },
    {
      name: 'every handler in the status can run a sandbox',
      async run(cri) {
        const { runtimeHandlers } = await cri.runtime.status({});
        for (const { name } of runtimeHandlers.slice(0, 3)) {
          await using pod = await cri.pod({}, name);
          assert.equal((await pod.status()).runtimeHandler, name);
        }
      },
    },
    {
      name: 'the cgroup driver is told',
      needs: ['runtime-config'],
      async run({ runtime }) {
        const { linux } = await runtime.runtimeConfig({});
        assert.ok(linux!.cgroupDriver === CgroupDriver.CGROUPFS || linux!.cgroupDriver === CgroupDriver.SYSTEMD);
      },
    },
    {
      name: 'a range of pod addresses is taken, or passed over when there is one already',
      async run({ runtime }) {
        await runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: '10.200.0.0/24' } } });
        const { status } = await runtime.status({});
        assert.ok(status!.conditions.every((one) => one.status));
      },
    },
    {
      name: 'the image file system is told with its use',
      async run({ images }) {
        const { imageFilesystems } = await images.imageFsInfo({});
        const [first] = imageFilesystems;
        assert.ok(isAbsolute(first!.fsId!.mountpoint));
        assert.ok(first!.usedBytes!.value > 0n && first!.inodesUsed!.value > 0n && first!.timestamp > 0n);
      },
    },
  ],
];

/** Debian's containerd: the installed 1.6, which tells no events and is relisted, and 2.x of a newer suite, unpacked beside. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Containerd } from '../../support/containerd.ts';
import { packageOfSuite } from '../../support/debian-packages.ts';
import { type ForeignRuntimeOptions, foreignRuntimeSuite } from './foreign-runtime.ts';

const skip = existsSync('/usr/bin/containerd') ? false : 'containerd is not installed (Debian package containerd)';

function on(version: string, programs: () => Promise<string | undefined>): ForeignRuntimeOptions {
  return {
    name: 'containerd',
    version,
    purpose: `ctd${version.slice(0, 1)}`,
    skip,
    cniBridge: true,
    start: async (namespace, options) => {
      const directory = await programs();
      const containerd = await Containerd.start(namespace, {
        ...options,
        ...(directory ? { programs: directory } : {}),
      });
      const lines = async (...argv: string[]) =>
        (await containerd.ctr(...argv)).stdout.split('\n').filter((line) => line !== '');
      return {
        endpoint: containerd.endpoint,
        directory: containerd.directory,
        load: async (file) => {
          const { status, stderr } = await containerd.ctr('images', 'import', file);
          if (status !== 0) throw new Error(stderr);
        },
        remains: async () => [
          ...(await lines('tasks', 'list', '--quiet')),
          ...(await lines('containers', 'list', '--quiet')),
        ],
        [Symbol.asyncDispose]: () => containerd[Symbol.asyncDispose](),
      };
    },
  };
}

foreignRuntimeSuite(on('1.', async () => undefined));
foreignRuntimeSuite(on('2.', async () => join(await packageOfSuite('forky', 'containerd'), 'usr/bin')));

/** Debian's containerd (1.6: it tells no events, and is relisted), or the one of CONTAINERD. */
import { existsSync } from 'node:fs';
import { Containerd } from '../../support/containerd.ts';
import { foreignRuntimeSuite } from './foreign-runtime.ts';

foreignRuntimeSuite({
  name: 'containerd',
  purpose: 'ctd',
  skip: existsSync('/usr/bin/containerd') ? false : 'containerd is not installed (Debian package containerd)',
  cniBridge: true,
  start: async (namespace, options) => {
    const containerd = await Containerd.start(namespace, options);
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
});

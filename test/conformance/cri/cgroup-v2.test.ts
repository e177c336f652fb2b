import { join } from 'node:path';
import { test } from 'node:test';
import { inSecondKernel, secondKernelMissing } from '../../support/second-kernel.ts';
import { secondKernelDeviations } from './deviations.ts';
import { reportSuite } from './report.ts';

/** What cgroup v2 and crun do in their own ways. The whole suite takes minutes there: `npm run test:cri-v2`. */
const some = [
  'resources: ',
  'containers: (a container over its memory|a stop takes all processes|a container is created)',
  'stats: a (container|sandbox)’s CPU',
  'exec: a command that takes too long',
  'sandboxes: a container’s processes are below',
  'security: devices of the host',
].join('|');

const skip = await secondKernelMissing({ '/usr/bin/crun': 'crun' });

test('our runtime with crun on cgroup v2', { skip, timeout: 1_800_000 }, async (t) => {
  const all = process.env['CRI_ALL'] !== undefined;
  const limitSeconds = all ? 1700 : 240;
  const only = process.env['CRI_ONLY'] ?? (all ? '' : some);
  const argv = [
    ...inSecondKernel(limitSeconds),
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    join(import.meta.dirname, 'second-kernel.ts'),
    '--json',
    '--parallel',
    '4',
  ];
  const environment = { CRI_ONLY: only, CRI_IMAGES: only === some ? 'few' : 'all' };
  await reportSuite(t, argv, environment, secondKernelDeviations);
});

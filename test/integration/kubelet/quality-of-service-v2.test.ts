/** Cgroups of pods, resizes and thresholds on pure cgroup v2: the unit tests that touch the kernel, in a second kernel. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '../../support/processes.ts';
import { inSecondKernel, secondKernelMissing } from '../../support/second-kernel.ts';

const skip = await secondKernelMissing();
const root = join(import.meta.dirname, '../../..');
/** A runner of tests that believes itself below another one would run nothing. */
const alone = ['env', '-u', 'NODE_TEST_CONTEXT'];

test('cgroups of pods have their limits on cgroup v2', { skip, timeout: 240_000 }, async () => {
  const files = ['pod-cgroups', 'node-allocatable'].map((name) => join(root, `src/kubelet/resources/${name}.test.ts`));
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--test', '--test-timeout=100000'];
  const argv = [...inSecondKernel(200), ...alone, ...node, ...files];
  const { status, stdout, stderr } = await run(argv, { timeoutMs: 220_000 });
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, /a pod has its cgroup below its class/);
});

/** That kernel has no nftables: whoever writes rules finds the older kind of iptables first. */
const legacyTables = [
  'mkdir -p /tmp/legacy',
  'for name in iptables ip6tables; do for end in "" -save -restore; do',
  'ln -sf "/usr/sbin/$name-legacy$end" "/tmp/legacy/$name$end"; done; done',
  'export PATH="/tmp/legacy:$PATH" CLUSTER_OPTIONS="--proxy-mode iptables"',
  'exec "$@"',
].join('\n');

/** Minutes: that kernel is slow. */
const all = process.env['KUBELET_V2'] === undefined && 'takes minutes: KUBELET_V2=1 runs the suites themselves there';

for (const name of ['quality-of-service', 'resize']) {
  test(`the suite ${name} on cgroup v2`, { skip: skip || all, timeout: 1_200_000 }, async () => {
    const file = join(import.meta.dirname, `${name}.test.ts`);
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--test', '--test-timeout=400000', file];
    const argv = [...inSecondKernel(1000), '/bin/sh', '-c', legacyTables, 'sh', ...alone, ...node];
    const { status, stdout, stderr } = await run(argv, { timeoutMs: 1_100_000 });
    assert.equal(status, 0, `${stdout}\n${stderr}`);
  });
}

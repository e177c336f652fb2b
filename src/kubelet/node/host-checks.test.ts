import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '../../log/index.ts';
import { completeConfiguration } from '../config/kubelet-configuration.ts';
import { checkHost } from './host-checks.ts';

const log = createLogger('test', () => {});
const check = (fields: object, files: Record<string, string> = {}) =>
  checkHost(completeConfiguration({ volumePluginDir: '/nowhere', ...fields }), log, (path) => files[path] ?? '');
const swaps = 'Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2';

test('swap forbids a start unless failSwapOn is false', () => {
  assert.throws(() => check({}, { '/proc/swaps': swaps }), /failSwapOn: running with swap on .*\/dev\/sda2/);
  assert.doesNotThrow(() => check({ failSwapOn: false }, { '/proc/swaps': swaps }));
  assert.doesNotThrow(() => check({}, { '/proc/swaps': 'Filename Type Size Used Priority' }));
});

test('protectKernelDefaults forbids a start with other tunables, and names the first', () => {
  const good = {
    '/proc/sys/vm/overcommit_memory': '1',
    '/proc/sys/vm/panic_on_oom': '0',
    '/proc/sys/kernel/panic': '10',
    '/proc/sys/kernel/panic_on_oops': '1',
    '/proc/sys/kernel/keys/root_maxkeys': '1000000',
    '/proc/sys/kernel/keys/root_maxbytes': '25000000',
  };
  assert.doesNotThrow(() => check({ protectKernelDefaults: true }, good));
  assert.throws(
    () => check({ protectKernelDefaults: true }, { ...good, '/proc/sys/kernel/panic': '0' }),
    /protectKernelDefaults: kernel\.panic is 0 and must be 10/,
  );
});

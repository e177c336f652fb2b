import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { CapabilitySchema } from '../../../api/cri/index.ts';
import { availableCapabilities, capabilityNames, resolveCapabilities } from './capabilities.ts';

const available = new Set(capabilityNames.filter((name) => name !== 'CAP_SYS_RESOURCE'));
const asked = (add: string[], drop: string[], ambient: string[] = []) =>
  create(CapabilitySchema, { addCapabilities: add, dropCapabilities: drop, addAmbientCapabilities: ambient });

test('a drop of all is applied before the adds', () => {
  const sets = resolveCapabilities(asked(['NET_ADMIN', 'CAP_CHOWN'], ['ALL']), { privileged: false, available });
  assert.deepEqual(sets.bounding, ['CAP_CHOWN', 'CAP_NET_ADMIN']);
  assert.deepEqual(sets.effective, sets.bounding);
  assert.deepEqual(sets.ambient, []);
});

test('adding all gives what the machine has, less what is dropped', () => {
  const sets = resolveCapabilities(asked(['ALL'], ['SYS_ADMIN']), { privileged: false, available });
  assert.equal(sets.bounding.length, available.size - 1);
  assert.ok(!sets.bounding.includes('CAP_SYS_ADMIN'));
});

test('ambient capabilities are inheritable too', () => {
  const sets = resolveCapabilities(asked([], ['ALL'], ['NET_BIND_SERVICE']), { privileged: false, available });
  assert.deepEqual(sets.ambient, ['CAP_NET_BIND_SERVICE']);
  assert.deepEqual(sets.inheritable, ['CAP_NET_BIND_SERVICE']);
  assert.deepEqual(sets.permitted, ['CAP_NET_BIND_SERVICE']);
});

test('privileged means everything that can be given, whatever is dropped', () => {
  const sets = resolveCapabilities(asked([], ['ALL']), { privileged: true, available });
  assert.equal(sets.bounding.length, available.size);
});

test('unknown and unavailable capabilities are refused by name', () => {
  const options = { privileged: false, available };
  assert.throws(
    () => resolveCapabilities(asked(['CAP_NONSENSE'], []), options),
    /unknown capability "CAP_NONSENSE" to add/,
  );
  assert.throws(() => resolveCapabilities(asked(['SYS_RESOURCE'], []), options), /does not grant it/);
});

test('the bounding set is read from a process status', () => {
  assert.deepEqual([...availableCapabilities('CapBnd:\t0000000000000003\n')], ['CAP_CHOWN', 'CAP_DAC_OVERRIDE']);
});

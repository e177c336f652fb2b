import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { armedFaults, armFaults, faultPoint } from './fault-point.ts';

afterEach(() => armFaults(''));

test('nothing happens at a point that is not armed', () => {
  assert.equal(faultPoint('call:step'), undefined);
  armFaults('call:other=error');
  assert.equal(faultPoint('call:step'), undefined);
});

test('an armed point goes off once, at the pass that was asked for', () => {
  armFaults('call:step@2=error,call:disk=enospc');
  assert.equal(faultPoint('call:step'), undefined);
  assert.throws(() => faultPoint('call:step'), /fault at call:step/);
  assert.equal(faultPoint('call:step'), undefined);
  assert.throws(() => faultPoint('call:disk'), { code: 'ENOSPC' });
  assert.deepEqual(armedFaults(), []);
});

test('a point that hangs never lets go', async () => {
  armFaults('call:step=hang');
  const first = await Promise.race([
    faultPoint('call:step')?.then(() => 'went on'),
    new Promise((r) => setImmediate(r, 'hangs')),
  ]);
  assert.equal(first, 'hangs');
});

test('text that cannot be read is refused', () => {
  for (const text of ['step', 'a:b=explode', 'a:b@x=kill']) assert.throws(() => armFaults(text), /is not <name>/);
});

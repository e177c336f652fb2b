import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { systemClock } from '../../async/index.ts';
import { StartGate } from './start-gate.ts';

test('what comes before the start is kept back, and let through when the start was only noted late', async () => {
  let started = false;
  const exited = Promise.withResolvers<void>();
  const gate = new StartGate({ started: () => started, exited: exited.promise, clock: systemClock });
  gate.write('early ');
  await systemClock.sleep(5);
  assert.equal(gate.readableLength, 0);
  started = true;
  gate.end('late');
  assert.equal(await text(gate), 'early late');
  assert.equal(gate.said, '');
});

test('the words of a runtime that could not start a command are its reason', async () => {
  const exited = Promise.withResolvers<void>();
  const gate = new StartGate({ started: () => false, exited: exited.promise, clock: systemClock });
  gate.write('no such ');
  gate.end('program');
  exited.resolve();
  assert.equal(await text(gate), '');
  assert.equal(gate.said, 'no such program');
});

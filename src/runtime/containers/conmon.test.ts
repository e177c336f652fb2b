import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeOciFailure, resizeLine } from './conmon.ts';

test('what an OCI runtime logs becomes the sentence that users know', () => {
  const output =
    'time="2026-01-01T00:00:00Z" level=warning msg="something else"\n' +
    'time="2026-01-01T00:00:00Z" level=error msg="runc create failed: unable to start container process: exec: \\"x\\": executable file not found in $PATH"\n';
  assert.equal(
    describeOciFailure(output),
    'failed to create containerd task: OCI runtime create failed: runc create failed: unable to start container process: exec: "x": executable file not found in $PATH: unknown',
  );
  assert.match(describeOciFailure('plain words\n'), /failed: plain words: unknown$/);
  assert.match(describeOciFailure(''), /no reason given/);
});

test('terminal sizes stay within what conmon takes', () => {
  assert.equal(resizeLine(24, 80), '1 24 80');
  assert.equal(resizeLine(5000, -1), '1 1000 0');
});

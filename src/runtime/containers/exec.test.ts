import assert from 'node:assert/strict';
import { test } from 'node:test';
import { execFailure, shellCodeOf } from './exec.ts';

test('what OCI runtimes say of a command that cannot be run, and the code that a shell gives it', () => {
  const log = (text: string) => `time="2026-01-01T00:00:00Z" level=error msg="${text.replaceAll('"', '\\"')}"\n`;
  const cases: [string, number | undefined][] = [
    [log('exec failed: unable to start container process: exec: "nope": executable file not found in $PATH'), 127],
    [log('exec failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory'), 127],
    ['executable file `nope` not found in $PATH: No such file or directory\n', 127],
    [log('exec failed: unable to start container process: exec: "/etc/passwd": permission denied'), 126],
    [log('exec failed: unable to start container process: exec: "/etc": is a directory'), 126],
    [log('exec failed: cannot exec in a stopped container'), undefined],
    [
      log('exec failed: unable to start container process: chdir to cwd ("/x") failed: no such file or directory'),
      undefined,
    ],
    ['', undefined],
  ];
  for (const [said, code] of cases) {
    const { message } = execFailure(said);
    assert.match(message, /^failed to exec in container: OCI runtime exec failed: .+: unknown$/);
    assert.equal(shellCodeOf(message), code, message);
  }
});

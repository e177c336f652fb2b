import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openCgroups } from '../../src/host/cgroups/index.ts';
import { run } from '../support/processes.ts';

const root = join(import.meta.dirname, '../..');
/** A program that runs a command in a kernel with cgroup v2: `uml-run -t SECONDS -- COMMAND`. */
const umlRun = process.env.DECKHAND_TEST_UML_RUN ?? join(root, '../shared/testbed/uml-run');
const crun = '/usr/bin/crun';

/** Why the tests cannot be run in a kernel of their own. */
function obstacle(): string | undefined {
  if (openCgroups().version === 'v2') return 'this machine has cgroup v2: the tests of resources run on it as they are';
  if (!existsSync(umlRun)) return `there is no ${umlRun} to run a kernel with cgroup v2`;
  if (!existsSync('/usr/bin/linux.uml')) return 'the package user-mode-linux is not installed';
  return existsSync(crun) ? undefined : 'the package crun is not installed';
}

test('limits and devices with crun on pure cgroup v2', async (t) => {
  const reason = obstacle();
  if (reason) return t.skip(reason);
  // Without the mark of the runner that runs this one, or the inner one would report to it.
  const node = ['env', '-u', 'NODE_TEST_CONTEXT', process.execPath, '--disable-warning=ExperimentalWarning', '--test'];
  const file = join(root, 'test/integration/runtime-resources.test.ts');
  const some = '--test-name-pattern=limits are|unified|OOMKilled|stats|CDI';
  const argv = [umlRun, '-m', '2500M', '-t', '200', '-d', root, '--', ...node, some, '--test-reporter=tap', file];
  const environment = { DECKHAND_TEST_OCI_RUNTIME: crun };
  const result = await run(argv, { environment, timeoutMs: 220_000 });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /^ok \d+ - unified settings and swap are written on cgroup v2$/m);
});

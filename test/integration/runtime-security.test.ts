import assert from 'node:assert/strict';
import { readFile, readlink } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { NamespaceMode } from '../../src/api/cri/index.ts';
import { RuntimeFixture } from '../support/runtime-fixture.ts';

let fixture: RuntimeFixture;

before(async () => {
  fixture = await RuntimeFixture.start('security');
});

after(async () => {
  await fixture?.[Symbol.asyncDispose]();
});

test('PID 1 of a shared PID namespace is no door to the node, whatever capabilities a container has', async () => {
  const sandbox = await fixture.pod({ linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } } });
  const containerId = await fixture.start(sandbox, ['sleep', '1000'], {
    linux: { securityContext: { capabilities: { addCapabilities: ['ALL'] } } },
  });
  assert.equal(await fixture.output(containerId, 'sh', '-c', 'ls -A /proc/1/root/ && echo empty'), 'empty');
  const { info } = await fixture.cri.podSandboxStatus({ podSandboxId: sandbox.id, verbose: true });
  const { pid } = JSON.parse(info.info ?? '{}') as { pid: number };
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  assert.match(status, /^CapPrm:\s+0+$/m);
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  for (const kind of ['net', 'ipc', 'uts', 'mnt', 'cgroup']) {
    const theirs = await fixture.output(containerId, 'readlink', `/proc/1/ns/${kind}`);
    assert.notEqual(theirs, await readlink(`/proc/self/ns/${kind}`), kind);
  }
});

import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { findClosure, renameImports } from './code-closure.ts';
import { dispatchers } from './proxy-contents.ts';

const home = resolve(import.meta.dirname, '../../..');

test("the proxy's code is closed, and has nothing of the other components", async () => {
  const { files, packages } = await findClosure(
    home,
    ['src/cli/main.ts', 'src/node/components/proxy.ts'],
    (file) => !dispatchers.includes(file),
  );
  for (const path of [
    'src/proxy/start-proxy.ts',
    'src/proxy/backends/nftables/nftables-backend.ts',
    'src/log/logger.ts',
  ])
    assert.ok(files.has(path), path);
  const foreign = [...files.keys()].filter((path) => /^src\/(?:kubelet|runtime|controlplane)\//.test(path));
  assert.deepEqual(foreign, []);
  assert.ok(packages.includes('koffi') && !packages.includes('@grpc/grpc-js'), packages.join());
});

test('modules name each other by what they are called in the image', () => {
  assert.equal(
    renameImports(
      "import { a } from './a.ts';\nimport './b.ts';\nawait import('../c.ts');\nnew URL('./d.ts', x); // e.ts",
    ),
    "import { a } from './a.js';\nimport './b.js';\nawait import('../c.js');\nnew URL('./d.js', x); // e.ts",
  );
});

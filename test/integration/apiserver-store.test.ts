/** The store's promises at the edge: nothing acknowledged is lost when the process is killed, and a full disk is survived. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { systemClock } from '../../src/async/index.ts';
import { openSqliteLog, Store } from '../../src/controlplane/store/index.ts';

const root = join(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'deckhand-store-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const prelude = `
import { Store, openSqliteLog } from '${root}/src/controlplane/store/index.ts';
import { systemClock } from '${root}/src/async/index.ts';
const store = new Store({ log: openSqliteLog(process.env.STORE_FILE), clock: systemClock });
const write = (name, filler = '') =>
  store.write({ resource: 'r', namespace: '', name, expect: 0, object: { metadata: { name }, filler } });
`;

it('loses no acknowledged write when it is killed', async () => {
  const file = join(directory, 'killed.db');
  const script = `${prelude}
for (let i = 0; ; ) {
  const names = Array.from({ length: 8 }, () => 'n' + i++);
  await Promise.all(names.map((name) => write(name)));
  process.stdout.write(names.join(' ') + '\\n');
}`;
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
    {
      env: { ...process.env, STORE_FILE: file },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk;
    if (text.length > 20_000 && !child.killed) child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.once('close', resolve));
  const acknowledged = text.slice(0, text.lastIndexOf('\n')).split(/\s+/);
  assert.ok(acknowledged.length > 1000);
  const store = new Store({ log: openSqliteLog(file), clock: systemClock });
  for (const name of acknowledged) assert.ok(store.get('r', '', name), `${name} is lost`);
  store.close();
});

it('survives a full disk: refuses writes, keeps serving, writes again when there is room', {
  skip: process.getuid?.() !== 0 && 'needs root to mount a small disk',
}, () => {
  const script = `${prelude}
import { writeFileSync, rmSync } from 'node:fs';
import assert from 'node:assert/strict';
for (const one of ['.a', '.b']) writeFileSync(process.env.STORE_FILE + one, Buffer.alloc(1 << 20));
let written = 0, refusal;
while (!refusal) {
  try { await write('n' + written, 'x'.repeat(20000)); written++; } catch (error) { refusal = error; }
}
assert.equal(refusal.code, 'FULL');
await assert.rejects(write('other', 'x'.repeat(20000)), { code: 'FULL' });
assert.equal(store.collection('r').size, written);
assert.ok(store.get('r', '', 'n0'));
const { revision } = store;
rmSync(process.env.STORE_FILE + '.a');
const stored = await write('after', 'x'.repeat(20000));
assert.equal(stored.revision, revision + 1);
rmSync(process.env.STORE_FILE + '.b');
store.close();
const again = new Store({ log: openSqliteLog(process.env.STORE_FILE), clock: systemClock });
assert.equal(again.collection('r').size, written + 1);
again.close();
console.log('written', written);
`;
  const mountPoint = join(directory, 'disk');
  // The small disk is in a mount namespace of its own and is gone with it.
  const shell = `mkdir -p ${mountPoint} && mount -t tmpfs -o size=6m tmpfs ${mountPoint} && exec "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"`;
  const run = spawnSync('unshare', ['-m', 'sh', '-c', shell, process.execPath, script], {
    env: { ...process.env, STORE_FILE: join(mountPoint, 'store.db') },
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /written \d+/);
});

import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { loadKubeconfig } from '../../client/index.ts';
import { readCertificate } from '../../wire/certificates/index.ts';
import { ensurePki, loadApiServerPki, PkiError } from './index.ts';

const start = Date.UTC(2026, 0, 1);
const options = {
  clusterName: 'deckhand',
  nodeName: 'node-1',
  server: 'https://127.0.0.1:6443',
  serverNames: ['kubernetes', 'kubernetes.default', 'localhost'],
  serverAddresses: ['127.0.0.1', '10.96.0.1', '::1', '2001:db8:0::1'],
  nodeAddresses: ['127.0.0.1'],
};

async function inDirectory(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'deckhand-pki-'));
  try {
    await run(join(directory, 'pki'));
  } finally {
    await rm(directory, { recursive: true });
  }
}

test('the first call makes everything, for the owner only; the second keeps it', () =>
  inDirectory(async (directory) => {
    const first = await ensurePki(directory, { ...options, clock: new FakeClock(start) });
    assert.equal(first.issued.length, 9);
    for (const name of await readdir(directory)) {
      assert.equal((await stat(join(directory, name))).mode & 0o777, 0o600, name);
    }
    const before = await readFile(join(directory, 'admin.conf'), 'utf8');
    const second = await ensurePki(directory, { ...options, clock: new FakeClock(start + 1000) });
    assert.deepEqual(second.issued, []);
    assert.equal(second.ca, first.ca);
    assert.equal(await readFile(join(directory, 'admin.conf'), 'utf8'), before);
    const admin = await loadKubeconfig(join(directory, 'admin.conf'));
    assert.equal(admin.server, options.server);
    assert.deepEqual(readCertificate(admin.cert!).organizations, ['system:masters']);
    const kubelet = readCertificate(await readFile(join(directory, 'kubelet.crt'), 'utf8'));
    assert.deepEqual([kubelet.commonName, kubelet.organizations], ['system:node:node-1', ['system:nodes']]);
    const loaded = await loadApiServerPki(directory);
    assert.match(loaded.serviceAccountKey, /PRIVATE KEY/);
  }));

test('a certificate is issued again when its names change or its end is near', () =>
  inDirectory(async (directory) => {
    await ensurePki(directory, { ...options, clock: new FakeClock(start) });
    const renamed = { ...options, serverNames: [...options.serverNames, 'node-1'] };
    assert.deepEqual((await ensurePki(directory, { ...renamed, clock: new FakeClock(start) })).issued, ['apiserver']);
    const late = start + 330 * 86_400_000;
    const renewed = await ensurePki(directory, { ...renamed, clock: new FakeClock(late) });
    assert.equal(renewed.issued.length, 9);
  }));

test('a damaged certificate is replaced, a damaged authority is refused and left alone', () =>
  inDirectory(async (directory) => {
    const clock = new FakeClock(start);
    await ensurePki(directory, { ...options, clock });
    await writeFile(join(directory, 'scheduler.crt'), 'torn');
    assert.deepEqual((await ensurePki(directory, { ...options, clock })).issued, ['scheduler']);
    const key = await readFile(join(directory, 'ca.key'), 'utf8');
    await writeFile(join(directory, 'ca.key'), key.slice(0, 40));
    await assert.rejects(ensurePki(directory, { ...options, clock }), { code: 'AUTHORITY_DAMAGED' });
    await rm(join(directory, 'ca.key'));
    await assert.rejects(ensurePki(directory, { ...options, clock }), (error) => error instanceof PkiError);
    assert.equal((await readdir(directory)).includes('ca.key'), false);
  }));

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadCniConfiguration, parseCniConfiguration, readCniDirectory } from './cni-config.ts';

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-cni-'));
});
after(() => rm(directory, { recursive: true, force: true }));

const list = (more: object) =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'bridge' }], ...more });

test('the newest version that is known counts', () => {
  const version = (more: object) => parseCniConfiguration(list(more)).cniVersion;
  assert.equal(version({}), '1.0.0');
  assert.equal(version({ cniVersion: undefined }), '0.1.0');
  assert.equal(version({ cniVersions: ['0.4.0', '1.1.0', '9.0.0'] }), '1.1.0');
  assert.equal(version({ cniVersion: '0.3.1', cniVersions: ['9.0.0'] }), '0.3.1');
  assert.deepEqual(parseCniConfiguration(list({ cniVersions: ['0.4.0', '1.0.0'] })).cniVersions, ['1.0.0', '0.4.0']);
  assert.throws(() => version({ cniVersion: '9.0.0' }), /version 9\.0\.0 is not known: the newest that is, is 1\.1\.0/);
});

test('what is wrong is said, with the place', () => {
  for (const [text, pattern] of [
    ['', /empty/],
    ['[]', /not a JSON object/],
    ['{\n "name": "x",\n "plugins": [\n}', /line 4 column 1/],
    [list({ name: '' }), /no "name"/],
    [list({ name: '../x' }), /"name" "\.\.\/x" is not a valid network name/],
    [list({ plugins: {} }), /"plugins" is not a list/],
    [list({ plugins: [] }), /no plugins/],
    [list({ plugins: [{ type: 'a' }, {}] }), /plugin 2: it has no "type"/],
    [list({ plugins: [{ type: '../../bin/sh' }] }), /plugin 1: "type" .* is not the name of a program/],
    [list({ disableCheck: 'maybe' }), /"disableCheck" is neither true nor false/],
    [list({ cniVersions: '1.0.0' }), /"cniVersions" is not a list/],
  ] as const)
    assert.throws(() => parseCniConfiguration(text), pattern, text);
});

test('flags may be texts, and a single plugin is a list of one', () => {
  const { disableCheck, disableGC } = parseCniConfiguration(list({ disableCheck: 'true', disableGC: true }));
  assert.deepEqual([disableCheck, disableGC], [true, true]);
  const single = parseCniConfiguration('{"cniVersion":"0.3.1","name":"one","type":"ptp"}');
  assert.deepEqual([single.name, single.plugins.map(({ type }) => type)], ['one', ['ptp']]);
});

test('the first valid file by name counts; those that are not are told', async () => {
  assert.equal(await loadCniConfiguration(directory), undefined);
  assert.equal(await loadCniConfiguration(join(directory, 'missing')), undefined);
  await writeFile(join(directory, '05-broken.conflist'), '{');
  await writeFile(join(directory, '01-notes.txt'), 'not looked at');
  await assert.rejects(loadCniConfiguration(directory), /no valid CNI configuration: .*05-broken\.conflist: /);
  await writeFile(join(directory, '20-b.conf'), '{"name":"b","type":"ptp"}');
  await writeFile(join(directory, '10-a.conflist'), list({ name: 'a' }));
  const { configuration, file, invalid } = await readCniDirectory(directory);
  assert.equal(configuration?.name, 'a');
  assert.equal(file, join(directory, '10-a.conflist'));
  assert.equal(invalid.length, 1);
});

test('plugins may stand in files of their own, unless the list says that it is all', async () => {
  const own = await mkdtemp(join(directory, 'own-'));
  await writeFile(join(own, '10-split.conflist'), '{"cniVersion":"1.1.0","name":"split"}');
  await assert.rejects(loadCniConfiguration(own), /no plugins/);
  await mkdir(join(own, 'split'));
  await writeFile(join(own, 'split', '20-second.conf'), '{"type":"portmap"}');
  await writeFile(join(own, 'split', '10-first.conf'), '{"type":"bridge"}');
  assert.deepEqual(
    (await loadCniConfiguration(own))?.plugins.map(({ type }) => type),
    ['bridge', 'portmap'],
  );
  await writeFile(
    join(own, '10-split.conflist'),
    '{"name":"split","loadOnlyInlinedPlugins":true,"plugins":[{"type":"ptp"}]}',
  );
  assert.deepEqual(
    (await loadCniConfiguration(own))?.plugins.map(({ type }) => type),
    ['ptp'],
  );
  await writeFile(join(own, '10-split.conflist'), '{"name":"split","plugins":[{"type":"ptp"}]}');
  await writeFile(join(own, 'split', '30-bad.conf'), '{}');
  await assert.rejects(loadCniConfiguration(own), /30-bad\.conf: it has no "type"/);
});

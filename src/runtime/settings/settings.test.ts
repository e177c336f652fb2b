import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { changedSettings, parseSettings, printSettings, readFlagValue, readSettings } from './read-file.ts';
import { resolveSettings } from './resolve.ts';
import { bytes, duration, list, record, wholeNumber } from './schema.ts';
import { type Setting, settingTable } from './table.ts';

test('every setting has a help, a default that it would take itself, and a name that says its unit', () => {
  for (const [name, one] of Object.entries(settingTable as Record<string, Setting<unknown, boolean>>)) {
    assert.match(one.help, /^[A-Z].*\.$/, name);
    assert.equal(one.schema.duration === true, name.endsWith('Ms'), name);
    if (one.default === undefined) continue;
    const [printed] = Object.values(printSettings({ [name]: one.default }));
    assert.deepEqual(one.schema.read(printed, [name]), one.default, name);
  }
});

test('times and sizes are read with their units, and printed so', () => {
  const read = (text: unknown) => duration().read(text, ['x']);
  assert.deepEqual(['500ms', '90s', '1h30m', '1.5s', 0].map(read), [500, 90_000, 5_400_000, 1500, 0]);
  for (const bad of [5, '5', '5 s', 's', '']) assert.throws(() => read(bad), /must be a time such as/);
  assert.deepEqual([5_400_000, 90_000, 500, 0].map(duration().print!), ['90m', '90s', '500ms', '0ms']);
  assert.deepEqual(
    ['2Gi', 5, '7'].map((one) => bytes().read(one, ['x'])),
    [2 ** 31, 5, 7],
  );
  assert.throws(() => bytes().read('2GB', ['x']), /must be a size such as 512Mi/);
});

test('records say what they need and what they do not know, with the place', () => {
  const schema = list(record({ name: wholeNumber(1, 5) }, { waitMs: duration() }));
  assert.deepEqual(schema.read([{ name: 2, wait: '3s' }], ['all']), [{ name: 2, waitMs: 3000 }]);
  assert.throws(() => schema.read([{}], ['all']), /all\[0\] needs name/);
  assert.throws(() => schema.read([{ name: 2, wiat: '3s' }], ['all']), /"all\[0\]\.wiat": did you mean wait\?/);
  assert.throws(() => schema.read([{ name: 9 }], ['all']), /all\[0\]\.name must be a whole number from 1 to 5, not 9/);
});

test('an error names file and line, wherever it stands', () => {
  const fails = (text: string, expected: RegExp) => assert.throws(() => parseSettings('f.yaml', text), expected);
  fails('mtu: x\n', /^ConfigurationError: f\.yaml:1: mtu must be|f\.yaml:1: mtu must be/);
  fails(
    '# a\n\nruntimes:\n  - name: runc\n    path: /x\n  - name: Bad!\n    path: /y\n',
    /f\.yaml:6: runtimes\[1\]\.name must be a name/,
  );
  fails('runtimes: [{ name: a, path: relative }]\n', /f\.yaml:1: runtimes\[0\]\.path must be an absolute path/);
  fails('registries:\n  - registry: a\n    extra: 1\n', /f\.yaml:3: unknown setting "registries\[0\]\.extra"/);
  assert.deepEqual(parseSettings('f.yaml', ''), {});
  assert.deepEqual(parseSettings('f.yaml', '# nothing\n'), {});
});

test('JSON is read like YAML, with its mistakes', () => {
  const text = '{"mtu": 1400, "registries": [{"registry": "a:\\"b\\": 1", "mirrors": []}]}';
  assert.deepEqual(parseSettings('f.json', text), parseSettings('f.yaml', `# not JSON\n${text}`));
  assert.throws(() => parseSettings('f.json', '{"mtu": 1400,\n "mtu": 1500}'), /f\.json:2: .*unique/);
  assert.throws(() => parseSettings('f.json', '{"bridgeName": "a",\n "mtu": "x"}'), /f\.json:2: mtu must be/);
  assert.throws(() => parseSettings('f.json', '{"mtu": 1400'), /f\.json:1: /);
});

test('of each key the last file counts, drop-ins by name', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'dh-settings-'));
  try {
    await writeFile(join(directory, 'main'), 'mtu: 1400\nbridgeName: one\n');
    await writeFile(join(directory, '20.yaml'), 'mtu: 1300\n');
    await writeFile(join(directory, '10.yaml'), 'mtu: 1200\nmaxParallelLayers: 2\n');
    await writeFile(join(directory, '30.txt'), 'mtu: 1\n');
    const settings = await readSettings({ file: join(directory, 'main'), directory });
    assert.deepEqual(settings, { mtu: 1300, bridgeName: 'one', maxParallelLayers: 2 });
    assert.deepEqual(await readSettings({ directory: join(directory, 'none') }), {});
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('options are read as the file is; changes are known by whether they need a restart; secrets stay hidden', () => {
  assert.equal(readFlagValue('mtu', '--mtu', '1300'), 1300);
  assert.throws(() => readFlagValue('mtu', '--mtu', 'x'), /--mtu must be a whole number/);
  const where = {
    listen: 'unix:///l',
    root: '/r',
    state: '/s',
    conmonPath: '/c',
    runtimes: [{ name: 'a', path: '/a' }],
  };
  const auth = { username: 'u', password: 'hidden-value' };
  const [one, two] = [
    resolveSettings(where),
    resolveSettings({ ...where, mtu: 1300, registries: [{ registry: 'x', auth }] }),
  ];
  assert.deepEqual(changedSettings(one, two), [
    { name: 'mtu', live: false },
    { name: 'registries', live: true },
  ]);
  assert.equal(two.listen, '/l');
  assert.ok(!JSON.stringify(printSettings(two)).includes('hidden-value'));
});

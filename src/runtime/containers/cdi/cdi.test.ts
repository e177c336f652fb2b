import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { ContainerConfigSchema } from '../../../api/cri/index.ts';
import { checkCdiSpec, parseCdiName } from './cdi-spec.ts';
import { cdiNames, findCdiEdits } from './find-devices.ts';

const device = (name: string, env: string) => ({ name, containerEdits: { env: [env] } });
const spec = (...devices: object[]) => ({ cdiVersion: '0.6.0', kind: 'vendor.com/net', devices });

test('names are those of the field and of annotations, each once', () => {
  const config = create(ContainerConfigSchema, {
    CDIDevices: [{ name: 'v.com/c=a' }],
    annotations: { 'cdi.k8s.io/x': 'v.com/c=b,v.com/c=a', other: 'v.com/c=z' },
  });
  assert.deepEqual(cdiNames(config), ['v.com/c=a', 'v.com/c=b']);
  assert.deepEqual(parseCdiName('v.com/c=a:1'), { kind: 'v.com/c', device: 'a:1' });
  for (const bad of ['a', 'v/c', 'v.com/c=', '/c=a', 'v.com/c/d=a', 'v.com/c=-a'])
    assert.throws(() => parseCdiName(bad), /not of the form vendor\/class=name/, bad);
});

test('specifications that are not understood whole are refused', () => {
  checkCdiSpec(spec(device('a', 'A=1')));
  assert.throws(() => checkCdiSpec({ ...spec(device('a', 'A=1')), cdiVersion: '2.0.0' }), /cdiVersion/);
  assert.throws(() => checkCdiSpec(spec()), /no devices/);
  assert.throws(() => checkCdiSpec(spec(device('a', 'A=1'), device('a', 'B=1'))), /there twice/);
  assert.throws(() => checkCdiSpec(spec(device('a', 'novalue'))), /not of the form name=value/);
  assert.throws(() => checkCdiSpec(spec({ name: 'a', containerEdits: { teleport: [] } })), /field teleport/);
  assert.throws(() => checkCdiSpec('text'), /no mapping/);
});

test('a later directory goes before an earlier one, one directory may not say two things', async () => {
  const base = await mkdtemp(join(tmpdir(), 'dh-cdi-'));
  try {
    const directories = ['vendor', 'run'].map((name) => join(base, name));
    for (const directory of directories) await mkdir(directory);
    const write = (place: string, content: object) => writeFile(join(base, place), JSON.stringify(content));
    const shared = { ...spec(device('a', 'A=old'), device('b', 'B=1')), containerEdits: { env: ['ALL=1'] } };
    await write('vendor/net.json', shared);
    const both = await findCdiEdits(['vendor.com/net=a', 'vendor.com/net=b'], directories);
    assert.deepEqual(
      both.map(({ env }) => env?.[0]),
      ['ALL=1', 'A=old', 'B=1'],
    );
    await write('run/net.json', spec(device('a', 'A=new')));
    assert.deepEqual(await findCdiEdits(['vendor.com/net=a'], directories), [{ env: ['A=new'] }]);
    await write('run/more.yaml', spec(device('a', 'A=other')));
    await assert.rejects(findCdiEdits(['vendor.com/net=a'], directories), /is in both .*more.yaml and .*net.json/);
    await assert.rejects(findCdiEdits(['vendor.com/net=z'], [join(base, 'none')]), { code: 'NOT_FOUND' });
  } finally {
    await rm(base, { recursive: true });
  }
});

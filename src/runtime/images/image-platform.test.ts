import assert from 'node:assert/strict';
import { test } from 'node:test';
import { amd64Level, chooseManifest, type ImagePlatform, type Platform } from './image-platform.ts';
import { fitsPattern } from './pinned.ts';

const linux = (...names: string[]) =>
  names.map((name): { name: string; platform: ImagePlatform } => {
    const [architecture = '', variant] = name.split('/');
    return { name, platform: { os: 'linux', architecture, ...(variant ? { variant } : {}) } };
  });
const choose = (machine: Platform, ...names: string[]) => chooseManifest(linux(...names), machine)?.name;

test('the image of an index that is for a machine', () => {
  const amd64 = { architecture: 'amd64', variant: 'v3' };
  assert.equal(choose(amd64, 'arm64', 'amd64/v2', 'amd64'), 'amd64');
  assert.equal(choose(amd64, 'amd64/v2', 'amd64/v3', 'amd64/v4'), 'amd64/v3');
  assert.equal(choose(amd64, 'amd64/v4', 'arm64'), undefined);
  assert.equal(choose(amd64, 's390x', '386'), '386');
  const arm64 = { architecture: 'arm64', variant: 'v8' };
  assert.equal(choose(arm64, 'arm/v7', 'arm64/v8'), 'arm64/v8');
  assert.equal(choose(arm64, 'arm64', 'arm64/v9'), 'arm64');
  assert.equal(choose(arm64, 'arm/v6', 'arm/v7', 'amd64'), 'arm/v7');
  const arm = { architecture: 'arm', variant: 'v6' };
  assert.equal(choose(arm, 'arm/v7', 'arm/v6', 'arm/v5'), 'arm/v6');
  assert.equal(choose(arm, 'arm', 'arm/v5'), 'arm/v5');
  assert.equal(choose({ architecture: 'riscv64' }, 'amd64', 'riscv64'), 'riscv64');
});

test('what is for another system, needs features or says nothing', () => {
  const machine = { architecture: 'amd64', variant: 'v1' };
  const windows = { platform: { os: 'windows', architecture: 'amd64' } };
  const special = { platform: { os: 'linux', architecture: 'amd64', 'os.features': ['x'] } };
  const attestation = { platform: { os: 'unknown', architecture: 'unknown' } };
  const silent: { platform?: ImagePlatform } = {};
  assert.equal(chooseManifest([windows, special, attestation], machine), undefined);
  assert.equal(chooseManifest<{ platform?: ImagePlatform }>([windows, silent], machine), silent);
});

test('the level of a processor', () => {
  const v2 = ['cx16', 'lahf_lm', 'popcnt', 'sse4_1', 'sse4_2', 'ssse3'];
  assert.equal(amd64Level(new Set()), 1);
  assert.equal(amd64Level(new Set(v2)), 2);
  assert.equal(amd64Level(new Set([...v2, 'avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'xsave'])), 3);
});

test('patterns of pinned images', () => {
  const cases: [string, string, boolean][] = [
    ['a.io/x:1', 'a.io/x:1', true],
    ['a.io/x:1', 'a.io/x:12', false],
    ['a.io/*', 'a.io/x:12', true],
    ['a.io/*', 'b.a.io/x', false],
    ['*pause*', 'registry.k8s.io/pause:3.9', true],
    ['*pause*', 'registry.k8s.io/paws:3.9', false],
    ['*', 'a', false],
  ];
  for (const [pattern, name, fits] of cases) assert.equal(fitsPattern(pattern, name), fits, `${pattern} ${name}`);
});

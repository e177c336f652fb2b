import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBuildable, completeName } from './build-image.ts';

test('names of images are completed as runtimes do it', () => {
  const cases = {
    'kube-proxy': 'docker.io/library/kube-proxy:latest',
    'team/kube-proxy:v1': 'docker.io/team/kube-proxy:v1',
    'registry.example/kube-proxy': 'registry.example/kube-proxy:latest',
    'localhost:5000/a/b:v1.2_3': 'localhost:5000/a/b:v1.2_3',
  };
  for (const [name, whole] of Object.entries(cases)) assert.equal(completeName(name), whole);
  for (const name of ['', 'UPPER/case', 'a:b:c', 'a b', 'name:', 'x@sha256:00', '-a'])
    assert.throws(() => completeName(name), { code: 'BAD_NAME' }, name);
});

test('what no image is made of is refused, and says of what images are made', () => {
  checkBuildable('proxy');
  assert.throws(() => checkBuildable('kubelet'), /runs on the host.*made of: proxy/);
  assert.throws(() => checkBuildable('pr0xy'), /"pr0xy": there is no such component/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { AuthConfigSchema } from '../../api/cri/index.ts';
import { credentialsFor } from './pull-image.ts';

const given = (serverAddress: string) => create(AuthConfigSchema, { username: 'u', password: 'p', serverAddress });

test('credentials go to the server that they are for, and to any when they name none', () => {
  assert.equal(credentialsFor('registry.example:5000', undefined), undefined);
  assert.equal(credentialsFor('registry.example:5000', given(''))?.password, 'p');
  assert.equal(credentialsFor('registry.example:5000', given('https://registry.example:5000/v2/'))?.password, 'p');
  assert.equal(credentialsFor('docker.io', given('https://index.docker.io/v1/'))?.password, 'p');
  assert.equal(credentialsFor('registry.example:5000', given('other.example')), undefined);
  assert.equal(credentialsFor('registry.example', given('registry.example:5000')), undefined);
});

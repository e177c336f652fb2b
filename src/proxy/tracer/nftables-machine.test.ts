import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jenkinsHash } from './jenkins-hash.ts';

test('the hash is the one of the kernel', () => {
  // From lookup3.c: hashlittle of these texts with these seeds.
  assert.equal(jenkinsHash(Buffer.from('Four score and seven years ago'), 0), 0x17770551);
  assert.equal(jenkinsHash(Buffer.from('Four score and seven years ago'), 1), 0xcd628161);
  assert.equal(jenkinsHash(Buffer.alloc(0), 0xdeadbeef), 0xbd5b7dde);
});

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { LinuxContainerSecurityContextSchema, SupplementalGroupsPolicy } from '../../../api/cri/index.ts';
import { makeSpecialFile } from '../../../host/files/index.ts';
import { resolveUser as resolve } from './process-user.ts';
import { resolveInRoot } from './root-path.ts';
import { readUserTables, UserTableCache } from './user-tables.ts';

let root = '';
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'deckhand-root-'));
  await mkdir(join(root, 'etc'));
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n# comment\nbroken\n');
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nweb:x:1000:\nextra:x:50000:web,other\n');
});
after(() => rm(root, { recursive: true, force: true }));

const resolveUser = async (directory: string, user: string, security: Parameters<typeof resolve>[2]) =>
  resolve(await readUserTables(directory), user, security);

const context = (fields: object) => create(LinuxContainerSecurityContextSchema, fields);

test("the image's user is looked up in the root's own files, with the groups that list it", async () => {
  assert.deepEqual(await resolveUser(root, 'web', undefined), { uid: 1000, gid: 1000, groups: [1000, 50000] });
  assert.deepEqual(await resolveUser(root, '1000:extra', undefined), { uid: 1000, gid: 50000, groups: [50000] });
  assert.deepEqual(await resolveUser(root, '', undefined), { uid: 0, gid: 0, groups: [0] });
  assert.deepEqual(await resolveUser(root, '4242', undefined), { uid: 4242, gid: 0, groups: [0] });
});

test('strict supplemental groups leave out those of the image', async () => {
  const strict = context({
    runAsUser: { value: 1000n },
    supplementalGroups: [1234n],
    supplementalGroupsPolicy: SupplementalGroupsPolicy.Strict,
  });
  assert.deepEqual((await resolveUser(root, '', strict)).groups, [1000, 1234]);
  const merge = context({ runAsUser: { value: 1000n }, supplementalGroups: [1234n] });
  assert.deepEqual((await resolveUser(root, '', merge)).groups, [1000, 1234, 50000]);
});

test('names that the image does not have, and a group without a user, are refused', async () => {
  await assert.rejects(resolveUser(root, 'nobody-here', undefined), /no users found/);
  await assert.rejects(resolveUser(root, 'web:nogroup', undefined), /no groups found/);
  await assert.rejects(
    resolveUser(root, 'web', context({ runAsGroup: { value: 5n } })),
    /user group is specified without user/,
  );
});

test('a number is a number, even where somebody is called so', async () => {
  const tables = { users: [{ name: '7', uid: 0, gid: 0 }], groups: [] };
  assert.equal(resolve(tables, '', context({ runAsUser: { value: 7n } })).uid, 7);
  assert.equal(resolve(tables, '7', undefined).uid, 0);
});

test('an image whose list of users is a pipe or is too large is refused, none at all is an empty one', async () => {
  const hostile = await mkdtemp(join(tmpdir(), 'deckhand-root-'));
  try {
    assert.deepEqual(await readUserTables(hostile), { users: [], groups: [] });
    await mkdir(join(hostile, 'etc'));
    makeSpecialFile(join(hostile, 'etc/passwd'), 'fifo', 0o644);
    const cache = new UserTableCache();
    await assert.rejects(cache.get('image', hostile), /\/etc\/passwd is not a file/);
    await rm(join(hostile, 'etc/passwd'));
    await writeFile(join(hostile, 'etc/passwd'), '');
    await truncate(join(hostile, 'etc/passwd'), 1e9);
    await assert.rejects(cache.get('image', hostile), /larger than 4 MiB/);
    await writeFile(join(hostile, 'etc/passwd'), 'a:x:1:2:::\nb:x:one:2\n');
    const { users } = await cache.get('image', hostile);
    assert.deepEqual(users, [{ name: 'a', uid: 1, gid: 2 }]);
    await rm(join(hostile, 'etc/passwd'));
    assert.deepEqual((await cache.get('image', hostile)).users, users);
  } finally {
    await rm(hostile, { recursive: true });
  }
});

test('links never lead out of a root', async () => {
  await symlink('/etc', join(root, 'absolute'));
  await symlink('../../../../etc', join(root, 'upwards'));
  await symlink('loop', join(root, 'loop'));
  assert.equal(await resolveInRoot(root, '/absolute/passwd'), join(root, 'etc/passwd'));
  assert.equal(await resolveInRoot(root, 'upwards/../../shadow'), join(root, 'shadow'));
  assert.equal(await resolveInRoot(root, '/not/there'), join(root, 'not/there'));
  await assert.rejects(resolveInRoot(root, '/loop'), /too many symbolic links/);
});

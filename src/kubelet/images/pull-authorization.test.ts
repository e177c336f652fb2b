import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Image } from '../../api/cri/index.ts';
import { FakeClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { PullAuthorization } from './pull-authorization.ts';
import { PullRecords } from './pull-records.ts';
import type { PullCredential } from './pull-secrets.ts';
import { type VerificationPolicy, verificationRule } from './verification-policy.ts';

const image = 'registry.test/team/app:1';
const ref = `sha256:${'a'.repeat(64)}`;
const log = createLogger('test', () => {});

function login(name: string, hash: string): PullCredential {
  const source = { secret: { uid: `uid-${name}`, namespace: 'default', name } };
  return { username: 'u', password: hash, auth: '', identityToken: '', registryToken: '', hash, source };
}
const node: PullCredential = { ...login('x', 'node'), source: undefined as never };
const account = (name: string): PullCredential => ({
  ...login(name, 'token'),
  source: { serviceAccount: { uid: `uid-${name}`, namespace: 'default', name } },
});

describe('images pulled with a secret', () => {
  let root: string;
  const open = (policy: VerificationPolicy = 'NeverVerifyPreloadedImages', allowlist: string[] = []) =>
    new PullAuthorization(
      new PullRecords(root, new FakeClock(1_000_000), log),
      verificationRule(policy, allowlist),
      log,
    );
  const pulled = (used?: PullCredential, by = open()) =>
    by.pulling(image, async () => ({ ref, used })).then(() => open());
  const asks = (authorization: PullAuthorization, name: string, ...logins: PullCredential[]) =>
    authorization.mustPull(name, ref, async () => logins);

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'dh-records-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('are pulled again by a pod that cannot show a login, and not by one that can', async () => {
    const authorization = await pulled(login('a', 'h1'));
    assert.equal(await asks(authorization, image), true);
    assert.equal(await asks(authorization, image, login('b', 'other')), true);
    assert.equal(await asks(authorization, image, login('a', 'h1')), false);
  });

  it('are free for a login that another secret holds too, and for a secret whose login was changed', async () => {
    const authorization = await pulled(login('a', 'h1'));
    assert.equal(await asks(authorization, image, login('b', 'h1')), false);
    assert.equal(await asks(authorization, image, login('a', 'h2')), false);
    // Both are noted: they count by themselves from now on.
    assert.equal(await asks(open(), image, login('b', 'h3')), false);
    assert.equal(await asks(open(), image, login('c', 'h2')), false);
  });

  it('are free for all when they were pulled without a login or with one of the node', async () => {
    assert.equal(await asks(await pulled(node), image), false);
    assert.equal(await asks(await pulled(login('a', 'h1')), image), false);
  });

  it('are known by service account when its token was the login', async () => {
    const authorization = await pulled(account('robot'));
    assert.equal(await asks(authorization, image, account('robot')), false);
    assert.equal(await asks(authorization, image, account('other')), true);
  });

  it('are known by the name they were pulled by, whatever the tag', async () => {
    const authorization = await pulled();
    assert.equal(await asks(authorization, 'registry.test/team/app:2'), false);
    assert.equal(await asks(authorization, 'registry.test/other:1'), true);
  });

  it('preloaded images are free; with AlwaysVerify they are not; NeverVerify frees all', async () => {
    assert.equal(await asks(open(), image), false);
    assert.equal(await asks(open('AlwaysVerify'), image), true);
    await pulled(login('a', 'h1'));
    assert.equal(await asks(open('NeverVerify'), image), false);
    const listed = open('NeverVerifyAllowlistedImages', ['registry.test/team/*', 'registry.test/one']);
    assert.equal(await asks(listed, image), false);
    assert.equal(await asks(listed, 'registry.test/one:3'), false);
    assert.equal(await asks(listed, 'registry.test/one-more'), true);
  });

  it('records are files as upstream writes them', async () => {
    await pulled(login('a', 'h1'));
    assert.deepEqual(await readdir(join(root, 'image_manager/pulling')), []);
    const [file] = await readdir(join(root, 'image_manager/pulled'));
    assert.match(file!, /^sha256-[0-9a-f]{64}$/);
    assert.deepEqual(JSON.parse(await readFile(join(root, 'image_manager/pulled', file!), 'utf8')), {
      kind: 'ImagePulledRecord',
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      lastUpdatedTime: '1970-01-01T00:16:40Z',
      imageRef: ref,
      credentialMapping: {
        'registry.test/team/app': {
          kubernetesSecrets: [{ uid: 'uid-a', namespace: 'default', name: 'a', credentialHash: 'h1' }],
        },
      },
    });
  });

  it('a pull that a killed kubelet had begun makes the image ours, and free for nobody', async () => {
    const cut = open();
    const never = Promise.withResolvers<never>();
    void cut.pulling(image, () => never.promise).catch(() => {});
    while ((await readdir(join(root, 'image_manager/pulling')).catch(() => [])).length === 0);
    const next = open();
    await next.adopt(async () => [{ id: ref, repoTags: [image], repoDigests: [] } as unknown as Image]);
    assert.equal(await asks(open(), image), true);
    assert.deepEqual(await readdir(join(root, 'image_manager/pulling')), []);
    never.reject(new Error('end'));
  });

  it('passes over what is no record, and forgets images that are gone', async () => {
    await pulled(login('a', 'h1'));
    await writeFile(join(root, 'image_manager/pulled/sha256-broken'), '{');
    const records = new PullRecords(root, new FakeClock(2_000_000), log);
    assert.ok(await records.pulled(ref));
    await records.prune(new Set(), 1_000_000);
    assert.ok(await records.pulled(ref), 'younger than the collection');
    await records.prune(new Set(), 1_500_000);
    assert.equal(await new PullRecords(root, new FakeClock(), log).pulled(ref), undefined);
  });

  it('the allow list takes names and prefixes only', () => {
    for (const bad of ['*', '/*', ' a.test/b', 'a.test/*/b', 'a.test/b:1', ''])
      assert.throws(() => verificationRule('NeverVerifyAllowlistedImages', [bad]), bad);
  });
});

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it, test } from 'node:test';
import { NamespaceMode } from '../../api/cri/index.ts';
import type { Node } from '../../api/index.ts';
import { forbiddenSysctl, normalizedSysctl, sysctlPatternProblem } from '../admission/sysctls.ts';
import { makePod } from '../testing/pods.ts';
import { checkUserNamespaces, idUnit, readIdRange } from './id-range.ts';
import { canReadOnlyRecursively } from './recursive-read-only.ts';
import { needsLabel } from './selinux.ts';
import { UserNamespaces } from './user-namespaces.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'dh-users-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const node = {
  status: {
    runtimeHandlers: [
      { name: '', features: { userNamespaces: true, recursiveReadOnlyMounts: true } },
      { name: 'old', features: { userNamespaces: false } },
    ],
  },
} as unknown as Node;
const podOf = (uid: string, spec: { hostUsers?: boolean } = { hostUsers: false }) => makePod(spec, { uid });

describe('user namespaces', () => {
  const users = (pods = 4, idsPerPod = idUnit) =>
    new UserNamespaces({ root, range: { first: idUnit, length: idUnit * pods }, idsPerPod, node: () => node });
  const firstOf = async (all: UserNamespaces, uid: string) => (await all.of(podOf(uid), '')).uids![0]!.hostId;

  it('gives each pod a range of its own, writes it into the directory of the pod, and keeps to it', async () => {
    const all = users();
    const [a, b] = await Promise.all([firstOf(all, 'a'), firstOf(all, 'b')]);
    assert.deepEqual([a, b], [65_536, 131_072]);
    assert.equal(await firstOf(all, 'a'), a);
    const mapping = [{ hostId: 65_536, containerId: 0, length: 65_536 }];
    const file = join(root, 'pods/a/userns');
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), { uidMappings: mapping, gidMappings: mapping });
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const { mode, gids } = all.known(podOf('a'));
    assert.deepEqual([mode, gids], [NamespaceMode.POD, mapping]);
  });

  it('knows after a restart what pods have, and gives what is free again to others', async () => {
    const before = users();
    await firstOf(before, 'a');
    const b = await firstOf(before, 'b');
    await rm(join(root, 'pods/a'), { recursive: true });
    const after = users();
    assert.equal(after.known(podOf('b')).uids![0]!.hostId, b);
    assert.equal(await firstOf(after, 'c'), 65_536);
    assert.equal(await firstOf(after, 'd'), 196_608);
  });

  it('keeps ranges of another length, and lets none overlap', async () => {
    await firstOf(users(), 'a');
    assert.equal(await firstOf(users(4, 2 * idUnit), 'b'), 65_536 + 2 * 65_536);
  });

  it('refuses when there is no range left, when the handler cannot, and a file that cannot be used', async () => {
    const all = users(1);
    await firstOf(all, 'a');
    await assert.rejects(firstOf(all, 'b'), /create user namespace: could not find an empty slot/);
    const refused = (handler: string, text: RegExp) => assert.rejects(all.of(podOf('c'), handler), text);
    await refused('old', /RuntimeClass handler "old" does not support user namespaces$/);
    await refused(
      'none',
      /RuntimeClass handler "none" does not support user namespaces: the handler "none" is not known/,
    );
    const bare = new UserNamespaces({ root, range: { first: 0, length: 0 }, idsPerPod: idUnit, node: () => undefined });
    await assert.rejects(bare.of(podOf('d'), ''), /can't set `spec.hostUsers: false`, runtime does not support user/);
    await mkdir(join(root, 'pods/e'), { recursive: true });
    await writeFile(join(root, 'pods/e/userns'), '{"uidMappings":[],"gidMappings":[]}');
    await assert.rejects(users().of(podOf('f'), ''), /invalid user namespace mappings file of pod e/);
  });

  it('leaves other pods in the namespace of the host', async () => {
    const all = users();
    for (const spec of [{ hostUsers: true }, {}]) {
      assert.deepEqual(await all.of(podOf('a', spec), 'old'), { mode: NamespaceMode.NODE });
      assert.deepEqual(all.known(podOf('a', spec)), { mode: NamespaceMode.NODE });
    }
    assert.throws(() => all.known(podOf('z')), /is not known/);
  });
});

describe('the ids that pods may have', () => {
  const files = async (passwd: string, subuid: string, subgid = subuid) => {
    const paths = { passwd: join(root, 'passwd'), subuid: join(root, 'subuid'), subgid: join(root, 'subgid') };
    await writeFile(paths.passwd, passwd);
    await writeFile(paths.subuid, subuid);
    await writeFile(paths.subgid, subgid);
    return paths;
  };
  const kubelet = 'root:x:0:0::/:/bin/sh\nkubelet:x:999:999::/:/bin/false\n';

  it('are all but the first without a user kubelet, and else those that it was given', async () => {
    const all = { first: 65_536, length: 2 ** 32 - 65_536 };
    assert.deepEqual(readIdRange(idUnit, 110, await files('root:x:0:0', 'kubelet:131072:65536')), all);
    assert.deepEqual(readIdRange(idUnit, 110, await files(kubelet, 'other:1:1')), all);
    const given = await files(kubelet, `kubelet:655360:${110 * 65_536}\n`);
    assert.deepEqual(readIdRange(idUnit, 110, given), { first: 655_360, length: 110 * 65_536 });
  });

  it('are refused where they cannot be divided among pods', async () => {
    const cases: [string, RegExp, string?][] = [
      ['kubelet:65537:7208960', /is not a multiple of 65536/],
      ['kubelet:0:7208960', /must be greater or equal to 65536/],
      ['kubelet:65536:7208961', /length 7208961 is not a multiple/],
      ['kubelet:65536:65536', /not enough to support 110 pods/],
      ['kubelet:65536:7208960', /mismatched/, 'kubelet:131072:7208960'],
      ['kubelet:65536:65536\nkubelet:655360:65536', /one range .* there are 2/],
    ];
    for (const [subuid, text, subgid] of cases) {
      const given = await files(kubelet, subuid, subgid);
      assert.throws(() => readIdRange(idUnit, 110, given), text);
    }
  });

  it('come in whole units for each pod', () => {
    checkUserNamespaces(undefined);
    checkUserNamespaces({ idsPerPod: 131_072 });
    assert.throws(() => checkUserNamespaces({ idsPerPod: 1000 }), /userNamespaces.idsPerPod: must be a number of ids/);
    assert.throws(() => checkUserNamespaces({ idsPerPod: 65_537 }), /must be a multiple of 65536/);
  });
});

describe('recursively read-only mounts', () => {
  it('are made by handlers that say so', () => {
    assert.equal(canReadOnlyRecursively(node, ''), true);
    assert.equal(canReadOnlyRecursively(node, 'old'), false);
    assert.equal(canReadOnlyRecursively(undefined, ''), false);
  });
});

test('with SELinux the volumes that are made for a pod get the label of its containers', () => {
  const labelled = (volume: object, readOnly = false, enabled = true) =>
    needsLabel({ name: 'v', ...volume }, readOnly, enabled);
  assert.equal(labelled({ configMap: { name: 'x' } }, true), true);
  assert.equal(labelled({ emptyDir: {} }), true);
  assert.equal(labelled({ emptyDir: {} }, false, false), false);
  assert.equal(labelled({ hostPath: { path: '/' } }), false);
  assert.equal(labelled({ persistentVolumeClaim: { claimName: 'c' } }), true);
  assert.equal(labelled({ persistentVolumeClaim: { claimName: 'c' } }, true), false);
});

describe('sysctls', () => {
  const podWith = (name: string, spec: object = {}) =>
    makePod({ ...spec, securityContext: { sysctls: [{ name, value: '1' }] } });
  const refusal = (name: string, allowed: string[] = [], kernel = '6.18.0', spec: object = {}) =>
    forbiddenSysctl(podWith(name, spec), allowed, kernel);

  it('are safe by the version of the kernel', () => {
    assert.equal(refusal('net.ipv4.tcp_rmem', [], '4.15.0-20-generic'), undefined);
    assert.match(refusal('net.ipv4.tcp_rmem', [], '4.14.300')!, /"net.ipv4.tcp_rmem" not allowlisted/);
    assert.equal(refusal('net.ipv4.tcp_keepalive_time', [], '5.0'), undefined);
    assert.equal(refusal('kernel.shm_rmid_forced', [], '3.10'), undefined);
  });

  it('are allowed by name and by the beginning of their names, and belong to a namespace', () => {
    assert.match(refusal('kernel.msgmax')!, /not allowlisted/);
    assert.equal(refusal('kernel.msgmax', ['kernel.msg*']), undefined);
    assert.equal(refusal('net/ipv4/conf/eth0.1/arp_filter', ['net.ipv4.conf.eth0/1.arp_filter']), undefined);
    const host = (spec: object) => refusal('kernel.msgmax', ['kernel.msg*'], '6.1', spec);
    assert.match(host({ hostIPC: true })!, /not allowed with host ipc enabled/);
    assert.equal(host({ hostNetwork: true }), undefined);
    assert.match(refusal('net.core.somaxconn', ['net.*'], '6.1', { hostNetwork: true })!, /with host net enabled/);
  });

  it('may be written with strokes', () => {
    assert.equal(normalizedSysctl('net/ipv4/conf/eth0.1/x'), 'net.ipv4.conf.eth0/1.x');
    assert.equal(normalizedSysctl('net.ipv4.conf.eth0/1.x'), 'net.ipv4.conf.eth0/1.x');
  });

  it('of the node are never allowed', () => {
    assert.match(sysctlPatternProblem('vm.swappiness')!, /not known to be namespaced/);
    assert.match(sysctlPatternProblem('kernel.*')!, /not known to be namespaced/);
    assert.match(sysctlPatternProblem('net..x')!, /must be a name/);
    for (const one of ['net.*', 'net.core.somaxconn', 'kernel.msg*', 'net/ipv4/x', 'fs.mqueue.*'])
      assert.equal(sysctlPatternProblem(one), undefined, one);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { SecurityProfile_ProfileType as ProfileType, SecurityProfileSchema } from '../../../api/cri/index.ts';
import { defaultSeccomp, resolveSeccomp } from './seccomp.ts';

const base = { profile: undefined, profilePath: '', privileged: false, capabilities: [], profileRoot: '/nowhere' };
const names = (capabilities: string[]) => defaultSeccomp(capabilities).syscalls!.flatMap((rule) => rule.names);

test('no profile, unconfined and privileged mean no filter', async () => {
  const unconfined = create(SecurityProfileSchema, { profileType: ProfileType.Unconfined });
  const runtimeDefault = create(SecurityProfileSchema, {});
  assert.equal(await resolveSeccomp(base), undefined);
  assert.equal(await resolveSeccomp({ ...base, profile: unconfined }), undefined);
  assert.equal(await resolveSeccomp({ ...base, profile: runtimeDefault, privileged: true }), undefined);
  assert.equal((await resolveSeccomp({ ...base, profile: runtimeDefault }))?.defaultAction, 'SCMP_ACT_ERRNO');
  assert.equal((await resolveSeccomp({ ...base, profilePath: 'runtime/default' }))?.defaultErrnoRet, 1);
});

test('the default profile refuses what reaches past the container, unless a capability covers it', () => {
  const plain = new Set(names([]));
  for (const name of [
    'mount',
    'unshare',
    'setns',
    'bpf',
    'kexec_load',
    'init_module',
    'keyctl',
    'add_key',
    'userfaultfd',
    'io_uring_setup',
    'reboot',
    'swapon',
  ])
    assert.ok(!plain.has(name), `${name} is allowed`);
  for (const name of ['openat', 'clone', 'execve', 'socket', 'futex', 'rseq', 'wait4'])
    assert.ok(plain.has(name), `${name} is refused`);
  const admin = new Set(names(['CAP_SYS_ADMIN']));
  for (const name of ['mount', 'unshare', 'setns', 'clone3']) assert.ok(admin.has(name));
  assert.ok(names(['CAP_SYS_TIME']).includes('settimeofday'));
});

test('a missing localhost profile is an error that names the file', async () => {
  const profile = create(SecurityProfileSchema, { profileType: ProfileType.Localhost, localhostRef: 'mine.json' });
  await assert.rejects(resolveSeccomp({ ...base, profile }), /failed to load seccomp profile "\/nowhere\/mine.json"/);
});

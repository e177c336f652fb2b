import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { NamespaceMode, SecurityProfile_ProfileType, SupplementalGroupsPolicy } from '../../../../src/api/cri/index.ts';
import { criImageNames } from '../../../support/cri-images.ts';
import type { Topic } from '../behaviour.ts';
import type { ContainerConfig } from '../cri.ts';
import { fails, refused } from '../expect.ts';

const { RuntimeDefault, Unconfined, Localhost } = SecurityProfile_ProfileType;
type Context = NonNullable<NonNullable<ContainerConfig['linux']>['securityContext']>;
const secure = (securityContext: Context): ContainerConfig => ({ linux: { securityContext } });
const id = (value: number) => ({ value: BigInt(value) });

/** Bits of capabilities. */
const bit = { chown: 0n, netBind: 10n, netAdmin: 12n, netRaw: 13n, sysAdmin: 21n };
const has = (mask: string, which: bigint): boolean => ((BigInt(`0x${mask}`) >> which) & 1n) === 1n;
const masks = "sed -n 's/^Cap\\(Inh\\|Prm\\|Eff\\|Bnd\\|Amb\\):\\t//p' /proc/self/status";

/** What containers may do and who they are. */
export const security: Topic = [
  'security',
  [
    {
      name: 'a user by number, with group 0 when the image does not know it',
      async run(cri) {
        await using pod = await cri.pod();
        const { output } = await pod.script('id -u; id -g', secure({ runAsUser: id(4321) }));
        assert.equal(output, '4321\n0\n');
      },
    },
    {
      name: 'a user by name, with its group of the image',
      async run(cri) {
        await using pod = await cri.pod();
        const { output } = await pod.script('id -u; id -g', secure({ runAsUsername: 'www-data' }));
        assert.equal(output, '33\n33\n');
      },
    },
    {
      name: 'a user and a group by number',
      async run(cri) {
        await using pod = await cri.pod();
        const { output } = await pod.script('id -u; id -g', secure({ runAsUser: id(1001), runAsGroup: id(1002) }));
        assert.equal(output, '1001\n1002\n');
      },
    },
    {
      name: 'a group without a user is refused',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(pod.run(secure({ runAsGroup: id(1002) })), refused);
      },
    },
    {
      name: 'a user that the image does not know by name is refused',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(pod.run(secure({ runAsUsername: 'nobody-knows' })), [...refused, 'NOT_FOUND'], /nobody-knows|user/);
      },
    },
    {
      name: 'the user of the image, when nobody says otherwise',
      async run(cri) {
        await using pod = await cri.pod();
        for (const [image, expected] of [
          [criImageNames.userUid, '1002'],
          [criImageNames.userNameGroup, '33'],
          [criImageNames.userUidGroup, '1003'],
        ] as const) {
          await cri.pull(image);
          assert.equal((await pod.script('id -u', { image: { image } })).output.trim(), expected, image);
        }
      },
    },
    {
      name: 'supplemental groups',
      async run(cri) {
        await using pod = await cri.pod();
        const { output } = await pod.script('id -G', secure({ supplementalGroups: [1234n, 5678n] }));
        assert.deepEqual(
          output
            .trim()
            .split(' ')
            .map(Number)
            .sort((a, b) => a - b),
          [0, 1234, 5678],
        );
      },
    },
    {
      name: 'groups of the image are merged, or left out when strict; the status tells them',
      needs: ['supplemental-groups-policy'],
      async run(cri) {
        const image = { image: criImageNames.predefinedGroup };
        await cri.pull(image.image);
        await using pod = await cri.pod();
        const groups = async (supplementalGroupsPolicy: SupplementalGroupsPolicy) => {
          const context = { runAsUser: id(1000), supplementalGroups: [1234n], supplementalGroupsPolicy };
          const container = await pod.run({ image, ...secure(context) });
          const seen = (await container.sh('id -G'))
            .split(' ')
            .map(Number)
            .sort((a, b) => a - b);
          const { linux } = (await container.status()).user!;
          assert.deepEqual([linux!.uid, linux!.gid], [1000n, 1000n]);
          assert.deepEqual(
            linux!.supplementalGroups.map(Number).sort((a, b) => a - b),
            seen,
          );
          return seen;
        };
        assert.deepEqual(await groups(SupplementalGroupsPolicy.Merge), [1000, 1234, 50_000]);
        assert.deepEqual(await groups(SupplementalGroupsPolicy.Strict), [1000, 1234]);
      },
    },
    {
      name: 'capabilities are added and dropped, one by one and all',
      async run(cri) {
        await using pod = await cri.pod();
        const effective = async (context: Context) => (await pod.script(masks, secure(context))).output.split('\n')[2]!;
        const plain = await effective({});
        assert.ok(has(plain, bit.chown) && has(plain, bit.netRaw) && !has(plain, bit.netAdmin));
        assert.ok(has(await effective({ capabilities: { addCapabilities: ['NET_ADMIN'] } }), bit.netAdmin));
        assert.ok(!has(await effective({ capabilities: { dropCapabilities: ['CHOWN'] } }), bit.chown));
        assert.equal(BigInt(`0x${await effective({ capabilities: { dropCapabilities: ['ALL'] } })}`), 0n);
        const all = await effective({ capabilities: { addCapabilities: ['ALL'] } });
        assert.ok(has(all, bit.sysAdmin) && has(all, bit.netAdmin));
        const both = { addCapabilities: ['NET_RAW'], dropCapabilities: ['ALL'] };
        assert.equal(BigInt(`0x${await effective({ capabilities: both })}`), 1n << bit.netRaw);
      },
    },
    {
      name: 'a user other than root has none in effect, but those it may have',
      async run(cri) {
        await using pod = await cri.pod();
        const [, permitted, effective, bounding] = (
          await pod.script(masks, secure({ runAsUser: id(1000) }))
        ).output.split('\n');
        assert.deepEqual([BigInt(`0x${permitted}`), BigInt(`0x${effective}`)], [0n, 0n]);
        assert.ok(has(bounding!, bit.netRaw));
      },
    },
    {
      name: 'ambient capabilities are in effect for a user other than root',
      async run(cri) {
        await using pod = await cri.pod();
        const capabilities = { addAmbientCapabilities: ['NET_ADMIN'], addCapabilities: ['NET_ADMIN'] };
        const { output } = await pod.script(masks, secure({ runAsUser: id(1000), capabilities }));
        const [, , effective, , ambient] = output.split('\n');
        assert.ok(has(effective!, bit.netAdmin) && has(ambient!, bit.netAdmin), output);
      },
    },
    {
      name: 'a capability that there is not is refused',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(
          pod.run(secure({ capabilities: { addCapabilities: ['NO_SUCH_THING'] } })),
          refused,
          /NO_SUCH_THING/i,
        );
      },
    },
    {
      name: 'a privileged container sees the devices of the host and may do everything',
      async run(cri) {
        await using pod = await cri.pod({
          linux: { securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
        });
        const container = await pod.run(secure({ privileged: true }));
        assert.ok(has((await container.sh(masks)).split('\n')[2]!, bit.sysAdmin));
        await container.sh('mkdir /m; mount -t tmpfs none /m; umount /m; touch /sys/fs/cgroup/x 2>/dev/null || true');
        assert.equal(await container.sh("grep -c '^Seccomp:.0$' /proc/1/status"), '1');
        await container.sh('test -e /dev/kmsg');
      },
    },
    {
      name: 'an ordinary container may not mount, nor change the kernel’s settings',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        for (const script of [
          'mount -t tmpfs none /mnt',
          'mknod /dev/sda b 8 0 && cat /dev/sda',
          'test -e /dev/kmsg && cat /dev/kmsg',
        ])
          assert.notEqual((await container.exec('sh', '-c', script)).code, 0, script);
      },
    },
    {
      name: 'a privileged container in a sandbox that is not is refused',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(pod.run(secure({ privileged: true })), refused, /privileged/);
      },
    },
    {
      name: 'a read-only root file system cannot be written to',
      async run(cri) {
        await using pod = await cri.pod();
        const { output } = await pod.script(
          'touch /x; touch /tmp/x; echo y > /dev/null && echo dev',
          secure({ readonlyRootfs: true }),
        );
        assert.match(output, /touch: .*x: Read-only file system/);
        assert.match(output, /dev/);
      },
    },
    {
      name: 'masked and read-only paths are so',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(
          secure({ maskedPaths: ['/bin/ls', '/var/run'], readonlyPaths: ['/tmp', '/bin/touch'] }),
        );
        const all = await container.exec('sh', '-c', 'ls; ls -d /var/run/*; touch /tmp/x');
        assert.match(all.stderr, /ls: Permission denied/);
        assert.match(all.stderr, /\/tmp\/x: Read-only file system/);
      },
    },
    {
      name: 'the usual paths of /proc and /sys are masked and read-only',
      async run(cri) {
        await using pod = await cri.pod();
        const maskedPaths = ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'];
        const readonlyPaths = ['/proc/sys', '/proc/sysrq-trigger'];
        const container = await pod.run(secure({ maskedPaths, readonlyPaths }));
        assert.equal(await container.sh('wc -c < /proc/keys 2>/dev/null || echo 0'), '0');
        assert.notEqual((await container.exec('sh', '-c', 'echo h > /proc/sysrq-trigger')).code, 0);
        assert.equal(await container.sh('ls /sys/firmware | wc -l'), '0');
      },
    },
    {
      name: 'no new privileges: a program of root’s runs as who starts it, and as root without that',
      async run(cri) {
        const image = { image: criImageNames.noNewPrivileges };
        await cri.pull(image.image);
        await using pod = await cri.pod();
        const effective = async (noNewPrivs: boolean) => {
          const container = await pod.run({ image, command: [], ...secure({ runAsUser: id(1000), noNewPrivs }) });
          await container.exited();
          return container.output();
        };
        assert.equal(await effective(true), 'Effective uid: 1000\n');
        assert.equal(await effective(false), 'Effective uid: 0\n');
      },
    },
    {
      name: 'seccomp: the runtime’s own profile refuses what escapes, and lets ordinary work go on',
      needs: ['seccomp'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run(secure({ seccomp: { profileType: RuntimeDefault } }));
        assert.equal(await container.sh("sed -n 's/^Seccomp:\\t//p' /proc/self/status"), '2');
        assert.notEqual((await container.exec('unshare', '-U', 'true')).code, 0);
        await container.sh('ls / >/dev/null; sleep 0.01; echo $(id) | grep -q root');
      },
    },
    {
      name: 'seccomp: an empty profile is the runtime’s own, none is none, and Unconfined is none',
      needs: ['seccomp'],
      async run(cri) {
        await using pod = await cri.pod();
        const mode = async (context: Context) =>
          (await pod.script("sed -n 's/^Seccomp:\\t//p' /proc/self/status", secure(context))).output.trim();
        assert.equal(await mode({ seccomp: {} }), '2');
        assert.equal(await mode({}), '0');
        assert.equal(await mode({ seccomp: { profileType: Unconfined } }), '0');
      },
    },
    {
      name: 'seccomp: a profile of a file refuses what it says; one that is not there is an error',
      needs: ['seccomp'],
      async run(cri) {
        const file = `${await cri.newDirectory()}/profile.json`;
        const syscalls = [{ names: ['chmod', 'fchmod', 'fchmodat', 'fchmodat2'], action: 'SCMP_ACT_ERRNO' }];
        await writeFile(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
        await using pod = await cri.pod();
        const localhost = (localhostRef: string) => secure({ seccomp: { profileType: Localhost, localhostRef } });
        const container = await pod.run(localhost(file));
        const { code, stderr } = await container.exec('chmod', '400', '/etc/passwd');
        assert.notEqual(code, 0);
        assert.match(stderr, /not permitted/);
        await fails(pod.run(localhost('/no/such/profile.json')), [...refused, 'NOT_FOUND'], /profile/);
        await fails(pod.run(localhost('')), [...refused, 'NOT_FOUND']);
      },
    },
    {
      name: 'seccomp: a privileged container has none, whatever it asks for',
      needs: ['seccomp'],
      async run(cri) {
        await using pod = await cri.pod({
          linux: { securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
        });
        const { output } = await pod.script(
          "sed -n 's/^Seccomp:\\t//p' /proc/self/status",
          secure({ privileged: true, seccomp: { profileType: RuntimeDefault } }),
        );
        assert.equal(output.trim(), '0');
      },
    },
    {
      name: 'AppArmor: where the kernel has none, a profile is refused and Unconfined is fine',
      needs: ['no-apparmor'],
      async run(cri) {
        await using pod = await cri.pod();
        await pod.run(secure({ apparmor: { profileType: Unconfined } }));
        await pod.run(secure({ apparmorProfile: 'unconfined' }));
        await pod.run(secure({ apparmor: { profileType: RuntimeDefault } }));
        await fails(
          pod.run(secure({ apparmor: { profileType: Localhost, localhostRef: 'mine' } })),
          refused,
          /apparmor/i,
        );
        await fails(pod.run(secure({ apparmorProfile: 'localhost/mine' })), refused, /apparmor/i);
      },
    },
    {
      name: 'SELinux: where the kernel has none, labels are refused, not passed over',
      needs: ['no-selinux', 'deckhand'],
      async run(cri) {
        await using pod = await cri.pod();
        await fails(
          pod.run(secure({ selinuxOptions: { user: 'u', role: 'r', type: 't', level: 's0' } })),
          refused,
          /selinux/i,
        );
      },
    },
    {
      name: 'devices of the host, with the permissions that were asked for',
      async run(cri) {
        const { existsSync } = await import('node:fs');
        const hostPath = ['/dev/fuse', '/dev/net/tun', '/dev/loop-control', '/dev/rtc0', '/dev/kmsg'].find((path) =>
          existsSync(path),
        )!;
        assert.ok(hostPath, 'the host has no device to try with');
        await using pod = await cri.pod();
        const opens = async (permissions: string, redirection: string) => {
          const container = await pod.run({ devices: [{ hostPath, containerPath: '/dev/mine', permissions }] });
          return (await container.exec('sh', '-c', `: ${redirection} /dev/mine`)).code === 0;
        };
        assert.deepEqual([await opens('rw', '<>'), await opens('m', '<>')], [true, false]);
        const missing = { hostPath: '/dev/none', containerPath: '/dev/x', permissions: 'rwm' };
        await fails(pod.run({ devices: [missing] }), [...refused, 'NOT_FOUND'], /\/dev\/none/);
      },
    },
    {
      name: 'the usual devices are there',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const names = 'null zero full random urandom tty ptmx stdin stdout stderr fd shm mqueue pts';
        await container.sh(`for n in ${names}; do test -e /dev/$n || { echo no $n; exit 1; }; done`);
      },
    },
    {
      name: 'a CDI device that nobody knows is refused',
      needs: ['runtime-config'],
      async run(cri) {
        await using pod = await cri.pod();
        await fails(
          pod.run({ CDIDevices: [{ name: 'vendor.example/class=none' }] }),
          [...refused, 'NOT_FOUND'],
          /vendor\.example/,
        );
      },
    },
    {
      name: 'a user namespace maps root to a user of the host',
      needs: ['user-namespaces'],
      async run(cri) {
        const mapping = [{ hostId: 2_000_000, containerId: 0, length: 65_536 }];
        const usernsOptions = { mode: NamespaceMode.POD, uids: mapping, gids: mapping };
        await using pod = await cri.pod({
          linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions } } },
        });
        const container = await pod.run();
        assert.equal(
          (await container.sh('cat /proc/self/uid_map')).split(/\s+/).filter(Boolean).join(' '),
          '0 2000000 65536',
        );
        const { pid } = await container.info();
        const { statSync } = await import('node:fs');
        assert.equal(statSync(`/proc/${pid}`).uid, 2_000_000);
        assert.equal(await container.sh('touch /mine; stat -c %u /mine'), '0');
      },
    },
    {
      name: 'a user namespace that cannot be is refused: two ranges, no root, another mode',
      needs: ['runtime-config'],
      async run(cri) {
        const run = (usernsOptions: object) =>
          cri.pod({
            linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions } as never } },
          });
        const one = { hostId: 2_000_000, containerId: 0, length: 65_536 };
        const two = { hostId: 3_000_000, containerId: 65_536, length: 65_536 };
        await fails(run({ mode: NamespaceMode.POD, uids: [one, two], gids: [one, two] }), refused);
        const noRoot = { ...one, containerId: 1 };
        await fails(
          (async () => (await run({ mode: NamespaceMode.POD, uids: [noRoot], gids: [noRoot] })).run())(),
          refused,
        );
        await fails(run({ mode: NamespaceMode.CONTAINER, uids: [one], gids: [one] }), refused);
        await fails(run({ mode: NamespaceMode.TARGET, uids: [one], gids: [one] }), refused);
      },
    },
  ],
];

/** What security contexts make of containers, read from within them and from the node. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Pod, resources } from '../../../src/api/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { containerOf, PodDriver } from '../../support/pod-driver.ts';

describe('security of pods', { concurrency: 8 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;
  let root: string;

  before(async () => {
    cluster = await Cluster.withKubelet('ksec', {
      seccompDefault: true,
      allowedUnsafeSysctls: ['kernel.msg*', 'net.core.somaxconn'],
    });
    root = join(cluster.dataDirectory, 'kubelet');
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
  });
  after(async () => {
    await pods?.stop();
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  /** A line of /proc/self/status of a command in a container. */
  const status = async (pod: string, container = 'main'): Promise<Record<string, string>> => {
    const text = await pods.exec(pod, ['cat', '/proc/self/status'], container);
    return Object.fromEntries(
      text
        .split('\n')
        .map((line) => line.split(':\t', 2) as [string, string])
        .filter(([, value]) => value !== undefined),
    );
  };
  const words = (line: string | undefined): string[] => (line ?? '').trim().split(/\s+/).filter(Boolean);
  const waiting = (pod: Pod, container = 'main') => containerOf(pod, container)?.state?.waiting;

  test('a container runs as the user and groups of its own context, or of the pod', async () => {
    await pods.create('ids', {
      securityContext: { runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [3000], fsGroup: 4000 },
      volumes: [{ name: 'scratch', emptyDir: {} }],
      containers: [
        pods.container({ volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }] }),
        pods.container({ name: 'own', securityContext: { runAsUser: 1500 } }),
      ],
    });
    await pods.untilReady('ids');
    const main = await status('ids');
    assert.deepEqual([words(main['Uid'])[0], words(main['Gid'])[0]], ['1000', '2000']);
    assert.deepEqual(
      words(main['Groups']).sort(),
      ['2000', '3000', '4000'].filter((one) => words(main['Groups']).includes(one)).sort(),
    );
    for (const group of ['3000', '4000']) assert.ok(words(main['Groups']).includes(group));
    assert.equal(words((await status('ids', 'own'))['Uid'])[0], '1500');
    await pods.exec('ids', ['touch', '/scratch/mine']);
    const { uid } = pods.get('ids')!.metadata;
    const made = await stat(join(root, 'pods', uid, 'volumes/kubernetes.io~empty-dir/scratch/mine'));
    assert.deepEqual([made.uid, made.gid], [1000, 4000]);
    const told = containerOf(pods.get('ids'))?.user?.linux;
    assert.deepEqual([told?.uid, told?.gid], [1000, 2000]);
  });

  test('a container that must not be root is refused where it would be, in words that say why', async () => {
    const with_ = (name: string, image: string, securityContext: object) =>
      pods.create(name, {
        containers: [pods.container({ image, securityContext: { runAsNonRoot: true, ...securityContext } })],
      });
    await with_('nonroot-image', registry.userImage('root'), {});
    await with_('nonroot-name', registry.userImage('name'), {});
    await with_('nonroot-zero', registry.userImage('number'), { runAsUser: 0 });
    await with_('nonroot-number', registry.userImage('number'), {});
    await with_('nonroot-given', registry.userImage('root'), { runAsUser: 77 });
    const refused = async (name: string, text: RegExp) => {
      const pod = await pods.until('a refusal', name, (one) => waiting(one)?.reason === 'CreateContainerConfigError');
      assert.match(waiting(pod)!.message!, text);
    };
    const where = (name: string) => `\\(pod: "${name}_default\\(.*\\)", container: main\\)`;
    await refused(
      'nonroot-image',
      new RegExp(`^container has runAsNonRoot and image will run as root ${where('nonroot-image')}$`),
    );
    await refused('nonroot-name', /image has non-numeric user \(nobody\), cannot verify user is non-root/);
    await refused('nonroot-zero', /^container's runAsUser breaks non-root policy/);
    await Promise.all([pods.untilReady('nonroot-number'), pods.untilReady('nonroot-given')]);
    assert.equal(words((await status('nonroot-number'))['Uid'])[0], '1234');
    assert.equal(words((await status('nonroot-given'))['Uid'])[0], '77');
  });

  test('capabilities are added and dropped, and privileges not gained', async () => {
    const one = (name: string, securityContext: object) => pods.container({ name, securityContext });
    await pods.create('caps', {
      containers: [
        one('main', { capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] } }),
        one('plain', {}),
        one('privileged', { privileged: true }),
        one('bound', { allowPrivilegeEscalation: false }),
      ],
    });
    await pods.untilReady('caps');
    assert.equal(BigInt(`0x${(await status('caps'))['CapBnd']!.trim()}`), 1n << 12n);
    const plain = await status('caps', 'plain');
    // CAP_CHOWN is given, CAP_SYS_ADMIN is not.
    assert.equal(BigInt(`0x${plain['CapBnd']!.trim()}`) & ((1n << 21n) | 1n), 1n);
    assert.equal(plain['NoNewPrivs']!.trim(), '0');
    const privileged = await status('caps', 'privileged');
    assert.notEqual(BigInt(`0x${privileged['CapBnd']!.trim()}`) & (1n << 21n), 0n);
    assert.equal(privileged['Seccomp']!.trim(), '0');
    assert.equal((await status('caps', 'bound'))['NoNewPrivs']!.trim(), '1');
  });

  test('a read-only root cannot be written to, a volume can', async () => {
    await pods.create('readonly', {
      volumes: [{ name: 'scratch', emptyDir: {} }],
      containers: [
        pods.container({
          securityContext: { readOnlyRootFilesystem: true },
          volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }],
        }),
      ],
    });
    await pods.untilReady('readonly');
    await assert.rejects(pods.exec('readonly', ['touch', '/file']), /Read-only file system/);
    await pods.exec('readonly', ['touch', '/scratch/file']);
  });

  test('seccomp: the default of the node, none, and a profile of the node', async () => {
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
    };
    await mkdir(join(root, 'seccomp/ours'), { recursive: true });
    await writeFile(join(root, 'seccomp/ours/no-mkdir.json'), JSON.stringify(profile));
    const with_ = (name: string, seccompProfile?: object) =>
      pods.container({
        name,
        ...(seccompProfile ? { securityContext: { seccompProfile: seccompProfile as never } } : {}),
      });
    await pods.create('seccomp', {
      containers: [
        with_('main'),
        with_('none', { type: 'Unconfined' }),
        with_('local', { type: 'Localhost', localhostProfile: 'ours/no-mkdir.json' }),
      ],
    });
    await pods.create('seccomp-missing', {
      containers: [with_('main', { type: 'Localhost', localhostProfile: 'ours/absent.json' })],
    });
    await pods.untilReady('seccomp');
    assert.equal((await status('seccomp'))['Seccomp']!.trim(), '2');
    assert.equal((await status('seccomp', 'none'))['Seccomp']!.trim(), '0');
    assert.equal((await status('seccomp', 'local'))['Seccomp']!.trim(), '2');
    await assert.rejects(pods.exec('seccomp', ['mkdir', '/tmp/x'], 'local'), /Operation not permitted/);
    const pod = await pods.until(
      'a refusal',
      'seccomp-missing',
      (one) => waiting(one)?.reason === 'CreateContainerError',
    );
    assert.match(waiting(pod)!.message!, /absent\.json/);
  });

  test('a pod with an AppArmor profile is refused where nobody would enforce it', async (t) => {
    if (existsSync('/sys/kernel/security/apparmor')) return t.skip('AppArmor is on here');
    await pods.create('armored', {
      containers: [pods.container({ securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } })],
    });
    const { status } = await pods.until('Failed', 'armored', (pod) => pod.status?.phase === 'Failed');
    assert.equal(status?.reason, 'AppArmor');
    assert.match(status?.message ?? '', /Cannot enforce AppArmor: AppArmor is not enabled on the host/);
    await pods.create('unconfined', {
      containers: [pods.container({ securityContext: { appArmorProfile: { type: 'Unconfined' } } })],
    });
    await pods.untilReady('unconfined');
  });

  test('what /proc tells of the machine is masked, and what it changes is read-only', async () => {
    await pods.create('masked');
    await pods.untilReady('masked');
    assert.equal(await pods.exec('masked', ['cat', '/proc/timer_list']), '');
    await assert.rejects(
      pods.exec('masked', ['sh', '-c', 'echo 1 > /proc/sys/vm/drop_caches']),
      /Read-only|Permission/,
    );
  });

  test('sysctls: safe ones and those that the node allows are set, others refused', async () => {
    await pods.create('sysctls', {
      securityContext: {
        sysctls: [
          { name: 'net.ipv4.ip_unprivileged_port_start', value: '79' },
          { name: 'kernel.msgmax', value: '9000' },
          { name: 'net/core/somaxconn', value: '777' },
        ],
      },
    });
    await pods.create('sysctls-unsafe', {
      securityContext: { sysctls: [{ name: 'net.ipv4.ip_forward', value: '1' }] },
    });
    await pods.untilReady('sysctls');
    const read = async (name: string) => (await pods.exec('sysctls', ['cat', `/proc/sys/${name}`])).trim();
    assert.equal(await read('net/ipv4/ip_unprivileged_port_start'), '79');
    assert.equal(await read('kernel/msgmax'), '9000');
    assert.equal(await read('net/core/somaxconn'), '777');
    const { status } = await pods.until('Failed', 'sysctls-unsafe', (pod) => pod.status?.phase === 'Failed');
    assert.equal(status?.reason, 'SysctlForbidden');
    assert.match(status?.message ?? '', /forbidden sysctl: "net.ipv4.ip_forward" not allowlisted/);
  });

  test('a RuntimeClass chooses the handler, adds its overhead and where its pods go', async () => {
    const handlers = (await cluster.get('node', 'node-1')).status.runtimeHandlers.map(({ name = '' }: any) => name);
    const handler = handlers.find(Boolean);
    const create = (name: string, more: object) =>
      pods.client.create(resources.runtimeclasses, {
        apiVersion: 'node.k8s.io/v1',
        kind: 'RuntimeClass',
        metadata: { name },
        ...more,
      } as never);
    await create('known', {
      handler,
      overhead: { podFixed: { cpu: '30m', memory: '20Mi' } },
      scheduling: { nodeSelector: { 'kubernetes.io/os': 'linux' } },
    });
    await create('unknown', { handler: 'nobody-has-this' });
    await pods.create('classed', { runtimeClassName: 'known' });
    await pods.create('unclassed', { runtimeClassName: 'unknown' });
    const { spec } = await pods.untilReady('classed');
    assert.deepEqual(spec.overhead, { cpu: '30m', memory: '20Mi' });
    assert.equal(spec.nodeSelector?.['kubernetes.io/os'], 'linux');
    await pods.untilEvent('unclassed', 'FailedCreatePodSandBox', /nobody-has-this/);
  });

  test('nothing below the root of the kubelet can be written to by others, and secrets not be read', async () => {
    await pods.client.create(
      resources.secrets,
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'modes' }, stringData: { key: 'x' } } as never,
      { namespace: 'default' },
    );
    await pods.create('modes', {
      volumes: [{ name: 'secret', secret: { secretName: 'modes', defaultMode: 0o400 } }],
      containers: [pods.container({ volumeMounts: [{ name: 'secret', mountPath: '/secret' }] })],
    });
    await pods.untilReady('modes');
    const { uid } = pods.get('modes')!.metadata;
    const modeOf = async (path: string) => ((await stat(join(root, path))).mode & 0o777).toString(8);
    for (const path of ['', 'pods', `pods/${uid}`, `pods/${uid}/volumes`, `pods/${uid}/plugins`, 'plugins_registry'])
      assert.equal(await modeOf(path), '750', path);
    const wrong: string[] = [];
    const walk = async (directory: string): Promise<void> => {
      for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
        const path = join(directory, entry.name);
        const info = await stat(path).catch(() => undefined);
        if (!info || entry.isSymbolicLink()) continue;
        // An emptyDir and what is in it are the containers'.
        if (path.includes('kubernetes.io~empty-dir') || path.endsWith('/termination-log')) continue;
        if (entry.isFile() && path.includes('/containers/')) continue;
        if ((info.mode & 0o022) !== 0 && !entry.isSocket()) wrong.push(`${path} ${(info.mode & 0o777).toString(8)}`);
        if (entry.isDirectory()) await walk(path);
      }
    };
    await walk(root);
    assert.deepEqual(wrong, []);
  });
});

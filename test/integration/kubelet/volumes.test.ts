/** Volumes of every kind that need no claim, in real containers. */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { KubeletSuite } from '../../support/kubelet-suite.ts';
import { run } from '../../support/processes.ts';

const configMap = (name: string, data: object, more: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data,
  ...more,
});

describe('volumes', { concurrency: 8 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let suite: KubeletSuite;
  let outside: string;
  const at = (name: string, mountPath = '/data', more: object = {}) => ({ name, mountPath, ...more });
  const uidOf = async (pod: string): Promise<string> => (await cluster.get('pod', pod)).metadata.uid;
  const directoryOf = async (pod: string): Promise<string> =>
    join(cluster.dataDirectory, 'kubelet/pods', await uidOf(pod));

  before(async () => {
    outside = await mkdtemp(join(tmpdir(), 'dh-volumes-'));
    cluster = await Cluster.withKubelet('kvolumes', { volumeStatsAggPeriod: '1s' });
    registry = await DemoRegistry.start(cluster.namespace);
    suite = new KubeletSuite(cluster, registry.image('v1'));
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await rm(outside, { recursive: true, force: true });
  });

  test('an emptyDir is open to all, shared by the containers of its pod, survives their restart, and goes with the pod', async () => {
    const pod: any = suite.pod('scratch', {
      volumes: [{ name: 'disk', emptyDir: {} }],
      mounts: [at('disk')],
      spec: { securityContext: { runAsUser: 1000 } },
    });
    pod.spec.containers.push({ ...pod.spec.containers[0], name: 'other' });
    await suite.apply(pod);
    await suite.ready('scratch');
    assert.equal(await suite.sh('scratch', 'stat -c %a /data; echo mine > /data/file'), '777\n');
    await cluster
      .kubectl(['exec', 'scratch', '-c', 'other', '--', 'sh', '-c', 'cat /data/file; kill 1'], {})
      .catch(() => {});
    await suite.until('the other container was restarted', async () =>
      (await cluster.get('pod', 'scratch')).status.containerStatuses.some(
        (one: any) => one.name === 'other' && one.restartCount === 1 && one.ready,
      ),
    );
    assert.equal(await cluster.kubectl(['exec', 'scratch', '-c', 'other', '--', 'cat', '/data/file']), 'mine\n');
    const directory = await directoryOf('scratch');
    assert.deepEqual(await readdir(join(directory, 'volumes/kubernetes.io~empty-dir')), ['disk']);
    await suite.remove('pod/scratch');
    await suite.until(
      'the directory is gone',
      async () => (await stat(directory).catch(() => undefined)) === undefined,
    );
  });

  test('an emptyDir in memory is as large as the limit of the pod or its own, whichever is less', async () => {
    await suite.apply(
      suite.pod('memory', {
        volumes: [
          { name: 'own', emptyDir: { medium: 'Memory', sizeLimit: '8Mi' } },
          { name: 'pods', emptyDir: { medium: 'Memory' } },
        ],
        mounts: [at('own', '/own'), at('pods', '/pods')],
        container: { resources: { limits: { memory: '32Mi' } } },
        spec: { securityContext: { fsGroup: 3000 } },
      }),
    );
    await suite.ready('memory');
    const sizes = await suite.sh(
      'memory',
      "df -k /own /pods | tail -n 2 | awk '{print $2}'; stat -c '%a %g' /own; grep -c ' /own tmpfs' /proc/mounts",
    );
    assert.equal(sizes, '8192\n32768\n2777 3000\n1\n');
  });

  test('an emptyDir of huge pages needs one size of them, and pages of it', async () => {
    await suite.apply(
      suite.pod('huge', { volumes: [{ name: 'huge', emptyDir: { medium: 'HugePages' } }], mounts: [at('huge')] }),
    );
    await suite.untilEvent(
      'huge',
      /^FailedMount: .*needs exactly one size of huge pages in the pod's resources \(found none\)/,
    );
    await suite.apply(
      suite.pod('huge-named', {
        volumes: [{ name: 'huge', emptyDir: { medium: 'HugePages-2Mi' } }],
        mounts: [at('huge')],
      }),
    );
    await suite.ready('huge-named');
    assert.match(await suite.sh('huge-named', 'grep " /data " /proc/mounts'), /hugetlbfs.*pagesize=2M/);
  });

  test('a change of a ConfigMap is in the pod within a second, all of it at once', async (t) => {
    await suite.apply(configMap('live', { a: '1', b: '1' }));
    await suite.apply(
      suite.pod('follower', { volumes: [{ name: 'live', configMap: { name: 'live' } }], mounts: [at('live')] }),
    );
    await suite.ready('follower');
    assert.match(await suite.sh('follower', 'readlink /data/a; readlink /data/..data'), /^\.\.data\/a\n\.\./);
    const seen = suite.sh('follower', 'until [ "$(cat /data/a)" = 2 ]; do usleep 20000; done; cat /data/b; ls /data');
    const file = join(await directoryOf('follower'), 'volumes/kubernetes.io~configmap/live/a');
    await suite.apply(configMap('live', { a: '2', b: '2', c: 'new' }));
    const applied = performance.now();
    await pollUntil('the new content', async () => (await readFile(file, 'utf8')) === '2', {
      timeoutMs: 20_000,
      intervalMs: 2,
    });
    t.diagnostic(`${Math.round(performance.now() - applied)} ms from the end of kubectl apply to the new content`);
    assert.equal(await seen, '2a\nb\nc\n');
  });

  test('modes, items, binary data and optional parts of ConfigMaps and Secrets; nobody writes to them', async () => {
    await suite.apply(configMap('parts', { text: 'hello', more: 'x' }, { binaryData: { raw: 'AP8=' } }), {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'parts' },
      stringData: { key: 'secret' },
    });
    await suite.apply(
      suite.pod('reader', {
        volumes: [
          {
            name: 'map',
            configMap: {
              name: 'parts',
              defaultMode: 0o440,
              items: [
                { key: 'text', path: 'deep/er/text', mode: 0o400 },
                { key: 'raw', path: 'raw' },
                { key: 'absent', path: 'absent' },
              ],
              optional: true,
            },
          },
          { name: 'secret', secret: { secretName: 'parts' } },
          { name: 'none', secret: { secretName: 'nowhere', optional: true } },
        ],
        mounts: [at('map', '/map'), at('secret', '/secret'), at('none', '/none')],
      }),
    );
    await suite.ready('reader');
    const looks = await suite.sh(
      'reader',
      "stat -L -c %a /map/deep/er/text /map/raw /secret/key; wc -c < /map/raw; ls /map /none; grep -c ' /secret tmpfs ro' /proc/mounts",
    );
    assert.equal(looks, '400\n440\n644\n2\n/map:\ndeep\nraw\n\n/none:\n1\n');
    await assert.rejects(suite.sh('reader', 'echo x > /map/raw'), /Read-only/);
  });

  test('a pod waits for a ConfigMap that is missing, says so, and starts as soon as it comes', async () => {
    await suite.apply(
      suite.pod('patient', { volumes: [{ name: 'late', configMap: { name: 'late' } }], mounts: [at('late')] }),
    );
    await suite.untilEvent(
      'patient',
      /^FailedMount: MountVolume.SetUp failed for volume "late" : configmap "late" not found/,
    );
    await suite.apply(configMap('late', { here: 'now' }));
    await suite.ready('patient');
    assert.equal(await suite.sh('patient', 'cat /data/here'), 'now');
  });

  test('a volume that no container uses holds up nothing', async () => {
    await suite.apply(suite.pod('unused', { volumes: [{ name: 'late', configMap: { name: 'never-there' } }] }));
    await suite.ready('unused');
  });

  test('an immutable ConfigMap is read once, and is no longer watched', async () => {
    await suite.apply(configMap('stone', { a: '1' }, { immutable: true }));
    await suite.apply(
      suite.pod('geologist', { volumes: [{ name: 'stone', configMap: { name: 'stone' } }], mounts: [at('stone')] }),
    );
    await suite.ready('geologist');
    assert.equal(await suite.sh('geologist', 'cat /data/a'), '1');
    await cluster.kubectl(['delete', 'configmap', 'stone']);
    await suite.apply(configMap('stone', { a: '2' }));
    await cluster.kubectl(['annotate', 'pod', 'geologist', 'look=again']);
    await suite.apply(
      configMap('other', { a: '1' }),
      suite.pod('witness', { volumes: [{ name: 'other', configMap: { name: 'other' } }], mounts: [at('other')] }),
    );
    await suite.ready('witness');
    assert.equal(await suite.sh('geologist', 'cat /data/a'), '1');
  });

  test('labels and annotations in a downwardAPI volume follow the pod; resources are counted in their divisor', async () => {
    const field = (path: string, fieldPath: string) => ({ path, fieldRef: { fieldPath } });
    await suite.apply(
      suite.pod('mirror', {
        metadata: { labels: { tier: 'one' }, annotations: { note: 'a "quoted" note' } },
        volumes: [
          {
            name: 'about',
            downwardAPI: {
              items: [
                field('labels', 'metadata.labels'),
                field('note', "metadata.annotations['note']"),
                { path: 'cpu', resourceFieldRef: { containerName: 'main', resource: 'limits.cpu', divisor: '1m' } },
                {
                  path: 'memory',
                  resourceFieldRef: { containerName: 'main', resource: 'requests.memory', divisor: '1Ki' },
                  mode: 0o400,
                },
              ],
            },
          },
        ],
        mounts: [at('about')],
        container: { resources: { limits: { cpu: '250m' }, requests: { memory: '1Mi' } } },
      }),
    );
    await suite.ready('mirror');
    assert.equal(
      await suite.sh('mirror', 'cat /data/labels; echo; cat /data/note; echo; cat /data/cpu; echo; cat /data/memory'),
      'tier="one"\na "quoted" note\n250\n1024',
    );
    await cluster.kubectl(['label', 'pod', 'mirror', 'tier=two', '--overwrite']);
    await suite.until(
      'the label has changed',
      async () => (await suite.sh('mirror', 'cat /data/labels')) === 'tier="two"',
    );
  });

  test('a projected token belongs to the user of the pod alone, or to its group, and has the audience that was asked', async () => {
    const volumes = [
      {
        name: 'token',
        projected: {
          sources: [{ serviceAccountToken: { path: 'token', audience: 'someone', expirationSeconds: 600 } }],
        },
      },
    ];
    const looks = "stat -L -c '%a %u %g' /data/token";
    const pod = (name: string, securityContext: object) =>
      suite.pod(name, { volumes, mounts: [at('token')], spec: { securityContext } });
    await suite.apply(
      pod('by-all', {}),
      pod('by-user', { runAsUser: 1234 }),
      pod('by-group', { fsGroup: 4321 }),
      pod('by-both', { runAsUser: 1234, fsGroup: 4321 }),
    );
    await suite.ready('by-all', 'by-user', 'by-group', 'by-both');
    assert.equal(await suite.sh('by-all', looks), '644 0 0\n');
    assert.equal(await suite.sh('by-user', looks), '600 1234 0\n');
    assert.equal(await suite.sh('by-group', looks), '640 0 4321\n');
    assert.equal(await suite.sh('by-both', looks), '640 1234 4321\n');
    const [, claims = ''] = (await suite.sh('by-user', 'cat /data/token')).split('.');
    const token = JSON.parse(Buffer.from(claims, 'base64url').toString());
    assert.deepEqual(token.aud, ['someone']);
    assert.equal(token['kubernetes.io'].pod.name, 'by-user');
  });

  test('a hostPath of each type is checked, or made', async () => {
    await mkdir(join(outside, 'directory'));
    await writeFile(join(outside, 'file'), 'content');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(outside, 'socket'), resolve));
    try {
      const types: [string, string][] = [
        ['directory', 'Directory'],
        ['file', 'File'],
        ['socket', 'Socket'],
        ['new/directory', 'DirectoryOrCreate'],
        ['new-file', 'FileOrCreate'],
        ['directory', ''],
      ];
      const volumes = types.map(([path, type], index) => ({
        name: `v${index}`,
        hostPath: { path: join(outside, path), type },
      }));
      volumes.push({ name: 'null', hostPath: { path: '/dev/null', type: 'CharDevice' } });
      await suite.apply(suite.pod('types', { volumes, mounts: volumes.map(({ name }) => at(name, `/m/${name}`)) }));
      await suite.ready('types');
      assert.equal(
        await suite.sh('types', 'cat /m/v1; ls -d /m/v3; stat -c %F /m/v2 /m/null'),
        'content/m/v3\nsocket\ncharacter special file\n',
      );
      assert.equal((await stat(join(outside, 'new-file'))).mode & 0o777, 0o644);
      const wrong = (name: string, path: string, type: string) =>
        suite.pod(name, {
          volumes: [{ name: 'host', hostPath: { path: join(outside, path), type } }],
          mounts: [at('host')],
        });
      await suite.apply(wrong('wrong-file', 'directory', 'File'), wrong('wrong-block', 'file', 'BlockDevice'));
      await suite.untilEvent('wrong-file', /hostPath type check failed: .*directory is not a file/);
      await suite.untilEvent('wrong-block', /hostPath type check failed: .*file is not a block device/);
    } finally {
      server.close();
    }
  });

  test('a subPath is made with the mode of its volume, and named by variables', async () => {
    const volumes = [{ name: 'disk', emptyDir: {} }];
    await suite.apply(
      suite.pod('parts', {
        volumes,
        mounts: [
          at('disk', '/all'),
          at('disk', '/part', { subPath: 'a/b' }),
          at('disk', '/named', { subPathExpr: 'of-$(POD)/x' }),
        ],
        container: { env: [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }] },
        spec: { securityContext: { runAsUser: 1000 } },
      }),
    );
    await suite.ready('parts');
    assert.equal(
      await suite.sh(
        'parts',
        'echo 1 > /part/file && echo 2 > /named/file && cd /all && find . -type f | sort; stat -c %a /all/a',
      ),
      './a/b/file\n./of-parts/x/file\n777\n',
    );
    await suite.apply(suite.pod('odd', { volumes, mounts: [at('disk', '/part', { subPathExpr: '$(NOBODY)' })] }));
    await suite.until('it says what is missing', async () =>
      /missing value for "NOBODY"/.test(
        (await cluster.get('pod', 'odd')).status.containerStatuses?.[0]?.state?.waiting?.message ?? '',
      ),
    );
  });

  test('a container that swaps directories for links while its neighbour starts cannot make it mount what is outside', async () => {
    await mkdir(join(outside, 'treasure'));
    await writeFile(join(outside, 'treasure/gold'), 'gold');
    const swap = `cd /data; mkdir -p real; while :; do rm -rf way; ln -s ${outside}/treasure way; rm -f way; ln -s / way; rm -f way; mkdir way; mv -T way gone 2>/dev/null; rm -rf gone; done`;
    const victim = (attempt: number) => ({
      name: `victim-${attempt}`,
      image: suite.image,
      command: ['sh', '-c', 'ls /stolen; sleep 3600'],
      volumeMounts: [at('shared', '/stolen', { subPath: attempt % 2 === 0 ? 'way' : 'way/treasure' })],
    });
    const pod: any = suite.pod('attacker', {
      volumes: [{ name: 'shared', emptyDir: {} }],
      mounts: [at('shared')],
      container: { command: ['sh', '-c', swap], resources: { limits: { cpu: '300m' } } },
    });
    pod.spec.containers.push(...Array.from({ length: 8 }, (_, attempt) => victim(attempt)));
    await suite.apply(pod);
    await suite.until('every victim has run or was refused', async () => {
      const { containerStatuses = [] } = (await cluster.get('pod', 'attacker')).status;
      return (
        containerStatuses.length === 9 &&
        containerStatuses.every(
          ({ state, restartCount }: any) =>
            state.running || restartCount > 0 || state.waiting?.reason === 'CreateContainerConfigError',
        )
      );
    });
    const uid = await uidOf('attacker');
    const mounts = await run(['sh', '-c', `grep '${uid}/volume-subpaths' /proc/self/mountinfo || true`]);
    for (const line of mounts.stdout.split('\n').filter(Boolean)) {
      // Field 4 is what is shown: it has to be in the volume.
      assert.match(line.split(' ')[3]!, new RegExp(`${uid}/volumes/kubernetes.io~empty-dir/shared`), line);
    }
    for (let attempt = 0; attempt < 8; attempt++) {
      const logs = await cluster.tryKubectl(['logs', 'attacker', '-c', `victim-${attempt}`]);
      assert.doesNotMatch(logs.stdout, /gold|^etc$/m);
    }
    await suite.remove('pod/attacker');
  });

  test('fsGroup owns what is there, never what a link in it points to; OnRootMismatch looks at the root alone', async () => {
    const volume = join(outside, 'owned');
    await mkdir(join(volume, 'deep'), { recursive: true });
    await writeFile(join(volume, 'deep/file'), 'x');
    await chmod(join(volume, 'deep/file'), 0o600);
    await writeFile(join(outside, 'untouched'), 'x');
    await chmod(join(outside, 'untouched'), 0o600);
    await symlink(join(outside, 'untouched'), join(volume, 'link'));
    const nodeAffinity = {
      required: {
        nodeSelectorTerms: [
          { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node-1'] }] },
        ],
      },
    };
    const objects = (name: string, path: string) => [
      {
        apiVersion: 'v1',
        kind: 'PersistentVolume',
        metadata: { name },
        spec: {
          accessModes: ['ReadWriteMany'],
          capacity: { storage: '1Mi' },
          storageClassName: name,
          local: { path },
          nodeAffinity,
        },
      },
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name },
        spec: {
          accessModes: ['ReadWriteMany'],
          storageClassName: name,
          volumeName: name,
          resources: { requests: { storage: '1Mi' } },
        },
      },
    ];
    await suite.apply(...objects('owned', volume));
    const pod = (name: string, more: object) =>
      suite.pod(name, {
        volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'owned' } }],
        mounts: [at('data')],
        spec: { securityContext: { fsGroup: 5555, ...more } },
      });
    await suite.apply(pod('always', {}));
    await suite.ready('always');
    assert.equal(
      await suite.sh('always', "cd /data; stat -c '%a %g' . deep deep/file"),
      '2775 5555\n2775 5555\n660 5555\n',
    );
    const other = await stat(join(outside, 'untouched'));
    assert.deepEqual([other.gid, other.mode & 0o777], [0, 0o600]);
    await suite.remove('pod/always');
    await chmod(join(volume, 'deep/file'), 0o600);
    await suite.apply(pod('once', { fsGroupChangePolicy: 'OnRootMismatch' }));
    await suite.ready('once');
    assert.equal(await suite.sh('once', "stat -c '%a' /data/deep/file"), '600\n');
  });

  test('HostToContainer shows later mounts of the node, Bidirectional gives the mounts of the container to the node', async () => {
    const shared = join(outside, 'shared');
    await mkdir(join(shared, 'later'), { recursive: true });
    await mkdir(join(shared, 'inside'));
    assert.equal((await run(['mount', '--bind', shared, shared])).status, 0);
    try {
      await run(['mount', '--make-shared', shared]);
      const volumes = [{ name: 'host', hostPath: { path: shared } }];
      const pod = (name: string, mountPropagation: string, privileged: boolean) =>
        suite.pod(name, {
          volumes,
          mounts: [at('host', '/data', { mountPropagation })],
          container: { securityContext: { privileged } },
        });
      await suite.apply(
        pod('receiver', 'HostToContainer', false),
        pod('private', 'None', false),
        pod('giver', 'Bidirectional', true),
      );
      await suite.ready('receiver', 'private', 'giver');
      assert.equal((await run(['mount', '-t', 'tmpfs', 'tmpfs', join(shared, 'later')])).status, 0);
      await writeFile(join(shared, 'later/file'), 'seen');
      assert.equal(await suite.sh('receiver', 'cat /data/later/file'), 'seen');
      await assert.rejects(suite.sh('private', 'cat /data/later/file'));
      await suite.sh('giver', 'mount -t tmpfs tmpfs /data/inside && echo given > /data/inside/file');
      assert.equal((await run(['cat', join(shared, 'inside/file')])).stdout, 'given\n');
    } finally {
      await suite.remove('pod/receiver', 'pod/private', 'pod/giver');
      for (const path of ['later', 'inside', '']) await run(['umount', '-l', join(shared, path)]);
    }
  });

  test('recursiveReadOnly makes the mounts below read-only too; it has to be readOnly', async () => {
    const host = join(outside, 'below');
    await mkdir(join(host, 'sub'), { recursive: true });
    assert.equal((await run(['mount', '-t', 'tmpfs', 'tmpfs', join(host, 'sub')])).status, 0);
    try {
      const volumes = [{ name: 'host', hostPath: { path: host } }];
      const pod = (name: string, recursiveReadOnly: string) =>
        suite.pod(name, { volumes, mounts: [at('host', '/data', { readOnly: true, recursiveReadOnly })] });
      await suite.apply(pod('deep-read', 'Enabled'), pod('possible', 'IfPossible'), pod('shallow', 'Disabled'));
      await suite.ready('deep-read', 'possible', 'shallow');
      await assert.rejects(suite.sh('deep-read', 'touch /data/sub/x'), /Read-only/);
      await assert.rejects(suite.sh('possible', 'touch /data/sub/x'), /Read-only/);
      await suite.sh('shallow', 'touch /data/sub/x');
      for (const [name, expected] of [
        ['possible', 'Enabled'],
        ['shallow', 'Disabled'],
      ] as const) {
        const [{ volumeMounts }] = (await cluster.get('pod', name)).status.containerStatuses;
        assert.equal(volumeMounts[0].recursiveReadOnly, expected);
      }
    } finally {
      await suite.remove('pod/deep-read', 'pod/possible', 'pod/shallow');
      await run(['umount', '-l', join(host, 'sub')]);
    }
  });

  test('an image is a volume, whole or a part of it', async () => {
    const reference = suite.image;
    await suite.apply(
      suite.pod('from-image', {
        volumes: [{ name: 'image', image: { reference } }],
        mounts: [at('image', '/whole'), at('image', '/part', { subPath: 'bin' })],
      }),
    );
    await suite.ready('from-image');
    const shown = await suite.sh('from-image', 'ls /whole/bin/sh /part/sh');
    assert.equal(shown, '/part/sh\n/whole/bin/sh\n');
    await assert.rejects(suite.sh('from-image', 'touch /whole/x'), /Read-only/);
  });

  test('projected sources that this kubelet does not have are refused by name', async () => {
    const volumes = [
      {
        name: 'all',
        projected: {
          sources: [
            { podCertificate: { signerName: 'example.com/x', keyType: 'ED25519', credentialBundlePath: 'bundle' } },
          ],
        },
      },
    ];
    await suite.apply(suite.pod('certified', { volumes, mounts: [at('all')] }));
    await suite.untilEvent('certified', /projected volume source podCertificate is not supported/);
    const bundle = [
      { name: 'all', projected: { sources: [{ clusterTrustBundle: { name: 'roots', path: 'roots.pem' } }] } },
    ];
    await suite.apply(suite.pod('trusting', { volumes: bundle, mounts: [at('all')] }));
    await suite.untilEvent('trusting', /clustertrustbundle "roots" not found/);
    await suite.apply(
      suite.pod('iscsi', {
        volumes: [{ name: 'disk', iscsi: { targetPortal: '127.0.0.1', iqn: 'iqn.2026-01.x:y', lun: 0 } }],
        mounts: [at('disk')],
      }),
    );
    await suite.untilEvent('iscsi', /no volume plugin matched: iscsi volumes are not supported by this kubelet/);
  });

  test('how full volumes are is measured in the background', async () => {
    await suite.apply(suite.pod('full', { volumes: [{ name: 'disk', emptyDir: {} }], mounts: [at('disk')] }));
    await suite.ready('full');
    await suite.sh('full', 'dd if=/dev/zero of=/data/file bs=1M count=3 2>/dev/null');
    await suite.until('the summary knows', async () => {
      const summary = JSON.parse(await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/stats/summary']));
      const pod = summary.pods.find(({ podRef }: any) => podRef.name === 'full');
      const volume = pod?.volume?.find(({ name }: any) => name === 'disk');
      return volume?.usedBytes >= 3 * 1024 * 1024;
    });
    const metrics = await cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/metrics']);
    assert.match(
      metrics,
      /storage_operation_duration_seconds_count\{.*volume_plugin="kubernetes.io\/empty-dir".*\} [1-9]/,
    );
  });
});

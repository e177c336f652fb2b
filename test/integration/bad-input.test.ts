/**
 * What goes wrong through users, registries and disks: the message, event or Status that users of Kubernetes know, and
 * a node that lives on. One cluster for all of it, on a small disk of its own.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, open, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { Cluster } from '../support/cluster.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { output, run } from '../support/processes.ts';

const diskMegabytes = 160;
let cluster: Cluster;
let registry: FaultyRegistry;

before(async () => {
  cluster = await Cluster.create('bad');
  const options = `size=${diskMegabytes}m,mode=711`;
  await output(['mount', '-t', 'tmpfs', '-o', options, 'deckhand-test', cluster.dataDirectory]);
  // What becomes of pods when the kubelet takes a full disk for pressure is told elsewhere.
  await cluster.up(await cluster.kubeletConfig({ evictionHard: { 'memory.available': '50Mi' } }));
  registry = await FaultyRegistry.start(cluster.namespace, 48);
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  if (!cluster) return;
  await cluster.down().catch(() => {});
  await run(['umount', cluster.dataDirectory]);
  await cluster[Symbol.asyncDispose]();
});

/** A pod that runs a good image unless `spec` of the container says otherwise. */
function podManifest(name: string, container: object = {}, spec: object = {}, metadata: object = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...metadata },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: registry.image('good'), ...container }],
      ...spec,
    },
  });
}

const apply = (manifest: string) => cluster.tryKubectl(['apply', '-f', '-'], { input: manifest });

/** Applies a pod and waits until its container waits for one of these reasons; gives the message. */
async function waitsFor(manifest: string, ...reasons: string[]): Promise<string> {
  const { name } = JSON.parse(manifest).metadata;
  await cluster.kubectl(['apply', '-f', '-'], { input: manifest });
  return pollUntil(
    `${name} waiting because of ${reasons}`,
    async () => {
      const waiting = (await cluster.get('pod', name)).status.containerStatuses?.[0]?.state?.waiting;
      return reasons.includes(waiting?.reason) && (waiting.message ?? ' ');
    },
    { timeoutMs: 20_000, intervalMs: 50 },
  );
}

/** Waits for an event of a pod that says this; gives its reason. */
async function eventSays(pod: string, pattern: RegExp): Promise<string> {
  return pollUntil(
    `an event of ${pod} that says ${pattern}`,
    async () => {
      const { items } = await cluster.get<{ items: any[] }>('events', `--field-selector=involvedObject.name=${pod}`);
      return items.find(({ message }) => pattern.test(message))?.reason;
    },
    { timeoutMs: 20_000, intervalMs: 50 },
  );
}

/** A pod becomes Ready: the node is well. */
async function livesOn(name: string, image = 'good'): Promise<void> {
  await cluster.kubectl(['apply', '-f', '-'], { input: podManifest(name, { image: registry.image(image) }) });
  await cluster.kubectl(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=20s']);
  const { items } = await cluster.get<{ items: any[] }>('nodes');
  assert.equal(items[0].status.conditions.find((one: any) => one.type === 'Ready').status, 'True');
}

describe('manifests', () => {
  const refused = async (manifest: string, pattern: RegExp): Promise<void> => {
    const result = await apply(manifest);
    assert.equal(result.status, 1, result.stdout);
    assert.match(result.stderr, pattern);
  };

  test('unknown fields are all named', () =>
    refused(
      podManifest('bad', { bar: 2 }, { foo: 1 }),
      /Error from server \(BadRequest\): .*Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec\.containers\[0\]\.bar", unknown field "spec\.foo"/,
    ));

  test('an unknown field is a warning when the user wants only that', async () => {
    const input = podManifest('warned', {}, { foo: 1 });
    const result = await cluster.tryKubectl(['apply', '--validate=warn', '-f', '-'], { input });
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /Warning: unknown field "spec\.foo"/);
    assert.equal((await cluster.get('pod', 'warned')).spec.foo, undefined);
  });

  test('a wrong type names the field', () =>
    refused(
      podManifest('bad', { ports: [{ containerPort: 'http' }] }),
      /json: cannot unmarshal string into Go struct field ContainerPort\.spec\.containers\.ports\.containerPort of type int32/,
    ));

  test('a quantity that is none', () =>
    refused(
      podManifest('bad', { resources: { limits: { memory: 'much' } } }),
      /quantities must match the regular expression/,
    ));

  test('names and labels that break the rules', async () => {
    await refused(
      podManifest('Bad_Name'),
      /The Pod "Bad_Name" is invalid: metadata\.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must/,
    );
    await refused(
      podManifest('bad', { name: 'A.b' }),
      /spec\.containers\[0\]\.name: Invalid value: "A\.b": a lowercase RFC 1123 label must/,
    );
    await refused(
      podManifest('bad', {}, {}, { labels: { 'a b': 'x' } }),
      /metadata\.labels: Invalid value: "a b": name part must consist of alphanumeric characters/,
    );
  });

  test('what is required and what is not supported', async () => {
    await refused(podManifest('bad', {}, { containers: [] }), /spec\.containers: Required value/);
    await refused(podManifest('bad', { image: undefined }), /spec\.containers\[0\]\.image: Required value/);
    await refused(
      podManifest('bad', {}, { restartPolicy: 'Sometimes' }),
      /spec\.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "(OnFailure|Never)", "(OnFailure|Never)"/,
    );
  });

  test('a kind, a namespace and an object that do not exist', async () => {
    await refused(
      JSON.stringify({ apiVersion: 'v1', kind: 'Podd', metadata: { name: 'x' } }),
      /no matches for kind "Podd" in version "v1"/,
    );
    await refused(podManifest('bad', {}, {}, { namespace: 'nowhere' }), /namespaces "nowhere" not found/);
    const { stderr } = await cluster.tryKubectl(['get', 'pod', 'nobody']);
    assert.equal(stderr.trim(), 'Error from server (NotFound): pods "nobody" not found');
  });

  test('an immutable field of a running pod', async () => {
    await livesOn('steady');
    await refused(
      podManifest('steady', {}, { restartPolicy: 'Never' }),
      /The Pod "steady" is invalid: spec: Forbidden: pod updates may not change fields other than/,
    );
  });
});

describe('images', () => {
  afterEach(() => registry.misbehave({}));

  test('one that does not exist: ErrImagePull, then ImagePullBackOff', async () => {
    const image = `${registry.host}/test/nosuch:v1`;
    await waitsFor(podManifest('nosuch', { image }), 'ErrImagePull', 'ImagePullBackOff');
    const message = await waitsFor(podManifest('nosuch', { image }), 'ImagePullBackOff');
    assert.ok(message.startsWith(`Back-off pulling image "${image}"`), message);
    assert.equal(await eventSays('nosuch', /^Failed to pull image ".*\/test\/nosuch:v1": .*not found/), 'Failed');
    assert.equal(await eventSays('nosuch', /^Error: ErrImagePull$/), 'Failed');
    assert.equal(await eventSays('nosuch', /^Back-off pulling image /), 'BackOff');
  });

  test('a name that is none: InvalidImageName', async () => {
    const message = await waitsFor(podManifest('badref', { image: 'lib/UPPER' }), 'InvalidImageName');
    assert.match(
      message,
      /couldn't parse image name "lib\/UPPER": invalid reference format: repository name \(lib\/UPPER\) must be lowercase/,
    );
    assert.equal(await eventSays('badref', /invalid reference format/), 'InspectFailed');
  });

  test('absent with the policy Never: ErrImageNeverPull', async () => {
    const manifest = podManifest('never', { image: `${registry.host}/test/nosuch:v1`, imagePullPolicy: 'Never' });
    assert.match(await waitsFor(manifest, 'ErrImageNeverPull'), /is not present with pull policy of Never/);
  });

  test('a registry that is not there', async () => {
    await waitsFor(podManifest('dead', { image: '127.0.0.1:9/a:b' }), 'RegistryUnavailable', 'ImagePullBackOff');
    await eventSays(
      'dead',
      /^Failed to pull image "127\.0\.0\.1:9\/a:b": .*GET http:\/\/127\.0\.0\.1:9\/v2\/a\/manifests\/b: connect ECONNREFUSED/,
    );
  });

  test('a registry that refuses until the secret is there', async () => {
    await registry.misbehave({ basic: { username: 'user', password: 'right' } });
    const image = registry.image('private');
    await waitsFor(
      podManifest('private', { image }, { imagePullSecrets: [{ name: 'pull' }] }),
      'ErrImagePull',
      'ImagePullBackOff',
    );
    await eventSays(
      'private',
      /^Failed to pull image ".*\/test\/private:v1": .*(401 Unauthorized|may require authorization|authorization failed)/,
    );
    await eventSays(
      'private',
      /^Unable to retrieve some image pull secrets \(pull\); attempting to pull the image may not succeed\.$/,
    );
    await cluster.kubectl([
      'create',
      'secret',
      'docker-registry',
      'pull',
      `--docker-server=${registry.host}`,
      '--docker-username=user',
      '--docker-password=right',
    ]);
    await cluster.kubectl(['delete', 'pod', 'private']);
    await apply(podManifest('private', { image }, { imagePullSecrets: [{ name: 'pull' }] }));
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/private', '--timeout=20s']);
  });

  test('a registry that resets and then does not', async () => {
    await registry.misbehave({ reset: {} });
    await waitsFor(podManifest('reset', { image: registry.image('reset') }), 'RegistryUnavailable', 'ImagePullBackOff');
    await eventSays(
      'reset',
      /^Failed to pull image ".*\/test\/reset:v1": .*(ECONNRESET|socket hang up|connection reset)/,
    );
    await registry.misbehave({});
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/reset', '--timeout=40s']);
  });

  test('a registry that sends something else than it promised', async () => {
    await registry.misbehave({ corrupt: { path: /blobs/ } });
    await waitsFor(podManifest('wrong', { image: registry.image('wrong') }), 'ErrImagePull', 'ImagePullBackOff');
    await eventSays('wrong', /^Failed to pull image ".*\/test\/wrong:v1": .*(unexpected|digest)/);
    const { stdout } = await cluster.deckhand(['image', 'ls', '--data-dir', cluster.dataDirectory]);
    assert.ok(!stdout.includes('test/wrong'), stdout);
  });

  test('the node lives on', () => livesOn('after-images', 'again'));
});

describe('containers', () => {
  const terminated = (name: string) =>
    pollUntil(
      `the failed start of ${name}`,
      async () => {
        const [status] = (await cluster.get('pod', name)).status.containerStatuses ?? [];
        return status?.lastState?.terminated ?? status?.state?.terminated;
      },
      { timeoutMs: 20_000, intervalMs: 50 },
    );

  test('a command that is not in the path', async () => {
    await apply(podManifest('nocommand', { command: ['nosuch'] }));
    const { reason, exitCode, message } = await terminated('nocommand');
    assert.deepEqual([reason, exitCode], ['StartError', 128]);
    assert.match(message, /exec: "nosuch": executable file not found in \$PATH/);
    assert.equal(await eventSays('nocommand', /executable file not found in \$PATH/), 'Failed');
    await waitsFor(podManifest('nocommand', { command: ['nosuch'] }), 'RunContainerError', 'CrashLoopBackOff');
    await eventSays('nocommand', /^Back-off restarting failed container main in pod nocommand_default/);
  });

  test('a command that is not in the image, and one that is no program', async () => {
    await apply(podManifest('nofile', { command: ['/nosuch/command'] }));
    assert.match(
      (await terminated('nofile')).message,
      /exec: "\/nosuch\/command": stat \/nosuch\/command: no such file or directory/,
    );
    await apply(podManifest('noprogram', { command: ['/etc/passwd'] }));
    assert.match((await terminated('noprogram')).message, /exec: "\/etc\/passwd": permission denied/);
  });

  test('a working directory that cannot be one', async () => {
    await apply(podManifest('nodir', { workingDir: '/etc/passwd' }));
    const { reason, message } = await terminated('nodir').catch(async () => ({
      reason: 'CreateContainerError',
      message: await waitsFor(
        podManifest('nodir', { workingDir: '/etc/passwd' }),
        'CreateContainerError',
        'RunContainerError',
      ),
    }));
    assert.match(`${reason} ${message}`, /(StartError|CreateContainerError|RunContainerError).*not a directory/);
  });

  test('missing ConfigMaps, Secrets and keys: CreateContainerConfigError', async () => {
    const cases: [string, object, string][] = [
      ['nomap', { envFrom: [{ configMapRef: { name: 'missing' } }] }, 'configmap "missing" not found'],
      [
        'nosecret',
        { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'missing', key: 'a' } } }] },
        'secret "missing" not found',
      ],
      [
        'nokey',
        { env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'kube-root-ca.crt', key: 'a' } } }] },
        "couldn't find key a in ConfigMap default/kube-root-ca.crt",
      ],
    ];
    for (const [name, container, message] of cases) {
      assert.equal(await waitsFor(podManifest(name, container), 'CreateContainerConfigError'), message);
      assert.equal(await eventSays(name, new RegExp(`^Error: ${message}$`)), 'Failed');
    }
    await cluster.kubectl(['create', 'configmap', 'missing', '--from-literal=a=b']);
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/nomap', '--timeout=30s']);
  });

  test('a missing configMap volume: FailedMount, ContainerCreating', async () => {
    const volumes = [{ name: 'files', configMap: { name: 'absent' } }];
    const manifest = podManifest('novolume', { volumeMounts: [{ name: 'files', mountPath: '/files' }] }, { volumes });
    await waitsFor(manifest, 'ContainerCreating');
    assert.equal(
      await eventSays('novolume', /^MountVolume\.SetUp failed for volume "files" : configmap "absent" not found$/),
      'FailedMount',
    );
    await cluster.kubectl(['create', 'configmap', 'absent', '--from-literal=a=b']);
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/novolume', '--timeout=30s']);
    assert.equal(await cluster.kubectl(['exec', 'novolume', '--', 'cat', '/files/a']), 'b');
  });

  test('the node lives on', () => livesOn('after-containers'));
});

/** Fills the cluster's disk so that only this much is left; gives how to make room again. */
async function fillDisk(leftMegabytes: number): Promise<() => Promise<void>> {
  const file = join(cluster.dataDirectory, 'ballast');
  const { bavail, bsize } = await statfs(cluster.dataDirectory);
  const handle = await open(file, 'w');
  const chunk = Buffer.alloc(65_536);
  try {
    for (let left = bavail * bsize - leftMegabytes * 1_048_576; left > 0; ) {
      left -= (await handle.write(chunk, 0, Math.min(left, chunk.length))).bytesWritten;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    await handle.close();
  }
  return () => rm(file, { force: true });
}

describe('a full disk', () => {
  test('during a pull: the event says so, nothing of it stays, and with room it goes on', async () => {
    await cluster.kubectl(['delete', 'pods', '--all', '--now']);
    const makeRoom = await fillDisk(24);
    try {
      const manifest = podManifest('large', { image: registry.image('large') });
      await waitsFor(manifest, 'ErrImagePull', 'ImagePullBackOff');
      await eventSays('large', /^Failed to pull image ".*\/test\/large:v1": .*no space left on device/);
      await pollUntil(
        'the space of the failed pull',
        async () => {
          const { bavail, bsize } = await statfs(cluster.dataDirectory);
          return bavail * bsize > 20 * 1_048_576;
        },
        { timeoutMs: 10_000 },
      );
    } finally {
      await makeRoom();
    }
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/large', '--timeout=60s']);
    await cluster.kubectl(['delete', 'pod', 'large', '--now']);
  });

  test('during writes: they are refused, reads go on, and with room so do writes', async () => {
    await livesOn('witness');
    const value = 'x'.repeat(500_000);
    const write = (name: string) =>
      cluster.tryKubectl(['create', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value } }),
      });
    const makeRoom = await fillDisk(0);
    try {
      // The store's write-ahead log may have room of its own for a while.
      let refused = await write('bulk-0');
      for (let n = 1; refused.status === 0 && n < 50; n++) refused = await write(`bulk-${n}`);
      assert.equal(refused.status, 1, refused.stdout);
      assert.match(refused.stderr, /no space left|disk is full|database or disk is full/i);
      assert.equal((await cluster.get('pod', 'witness')).status.phase, 'Running');
      assert.equal((await cluster.tryKubectl(['logs', 'witness'])).status, 0);
      await assert.rejects(writeFile(join(cluster.dataDirectory, 'more'), Buffer.alloc(65_536)), /ENOSPC/);
      assert.equal(await cluster.kubectl(['exec', 'witness', '--', 'echo', 'full']), 'full\n');
    } finally {
      await makeRoom();
    }
    await pollUntil('writes again', async () => (await write('bulk')).status === 0, { timeoutMs: 20_000 });
    await livesOn('after-full', 'again');
  });
});

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Digests of all files below a directory. */
async function fingerprint(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const entry of (await readdir(directory, { recursive: true, withFileTypes: true })).sort((a, b) =>
    join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1,
  )) {
    hash.update(join(entry.parentPath, entry.name));
    if (entry.isFile()) hash.update(await readFile(join(entry.parentPath, entry.name)));
  }
  return hash.digest('hex');
}

describe('the command line', () => {
  /** What `deckhand` says, which is one sentence. */
  const says = async (argv: string[], status: number): Promise<string> => {
    const result = await cluster.deckhand(argv, { timeoutMs: 30_000 });
    assert.equal(result.status, status, result.stderr + result.stdout);
    const lines = result.stderr.trim().split('\n');
    assert.equal(lines.length, 1, result.stderr);
    return lines[0]!;
  };

  test('a port that is taken, and the node beside it is not disturbed', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dh-taken-'));
    try {
      const argv = ['up', '--node-name', 'other', '--data-dir', directory];
      assert.equal(
        await says(argv, 1),
        'deckhand: port 6443 is already in use: stop what listens there, or choose another with --listen ADDR:PORT',
      );
      assert.match(
        await says([...argv, '--listen', '127.0.0.1:7443'], 1),
        /^deckhand: port 10250, .* is already in use: /,
      );
      assert.match(
        await says(['up', '--data-dir', cluster.dataDirectory], 1),
        /an instance with data directory .* runs already \(pid \d+\)/,
      );
      assert.deepEqual(await readdir(directory), []);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
    await livesOn('after-taken');
  });

  test('a data directory of a newer version is not touched', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dh-newer-'));
    try {
      await writeFile(join(directory, 'instance.json'), JSON.stringify({ version: 99, options: { some: 'thing' } }));
      const before = await fingerprint(directory);
      for (const command of ['up', 'down', 'status'])
        assert.match(
          await says([command, '--data-dir', directory], 1),
          /was written by a newer deckhand \(layout 99, this one knows 1\); update deckhand/,
        );
      assert.equal(await fingerprint(directory), before);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  test('without root: one sentence', async () => {
    const command = join(import.meta.dirname, '../../bin/deckhand');
    const { status, stderr } = await run(
      ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', command, 'up', '--data-dir', '/tmp/dh-nobody'],
      { environment: { HOME: '/', NODE_COMPILE_CACHE: '/nonexistent' } },
    );
    assert.equal(status, 1, stderr);
    assert.equal(
      stderr,
      'deckhand: Deckhand makes namespaces, mounts and firewall rules, which needs root: run it with sudo\n',
    );
  });

  test('options that are not understood: status 2', async () => {
    const cases: [string[], RegExp][] = [
      [['up', '--nope'], /unknown option '--nope'/],
      [['up', 'surplus'], /unexpected argument 'surplus'/],
      [['up', '--data-dir'], /'--data-dir <value>' argument missing/],
      [['up', '--data-dir='], /'--data-dir' must not be empty/],
      [['up', '--listen', '1:2:3'], /--listen 1:2:3 is not an address/],
      [['up', '--pod-cidr', '10.0.0.0/33'], /--pod-cidr 10\.0\.0\.0\/33 is not a usable IPv4 range/],
      [['up', '--service-cidr', '10.244.0.0/16'], /overlap/],
      [['up', '--proxy-mode', 'userspace'], /--proxy-mode userspace is not a mode: use nftables, iptables or ipvs/],
      [['up', '--proxy', 'pod'], /--proxy pod is no place for the proxy: use component, daemonset or none/],
      [['up', '--proxy-image', 'x'], /--proxy-image is for --proxy daemonset, and this is --proxy component/],
      [
        ['up', '--proxy', 'daemonset', '--runtime-endpoint', 'unix:///x'],
        /needs --proxy-image: make an image with 'deckhand image build proxy -o FILE'/,
      ],
      [['image', 'build'], /image build takes one component, as in: deckhand image build proxy/],
      [['image', 'build', 'proxy', '--if-changed', '--tag', 'x'], /--if-changed is for the runtime of an instance/],
      [['up', '--place', 'all=moon'], /--place all=moon: use KEY=process/],
      [['up', '--place', 'moon=inline'], /there is no component moon/],
      [['up', '--node-name', 'A_b'], /--node-name a_b is not a node name/],
      [['up', '--runtime-endpoint', '/run/x'], /is not a unix socket/],
      [['up', '-v', 'x'], /-v x is not a log level/],
      [['nosuch'], /there is no command "nosuch"/],
      [['status', '-o', 'yaml'], /-o yaml is not a format: use json/],
      [['image', 'nosuch'], /there is no command image nosuch/],
      [['kubelet', '--config', '/nosuch'], /cannot read --config \/nosuch/],
      [['dns', '--listen', 'x'], /--listen x is not an address/],
    ];
    await Promise.all(
      cases.map(async ([argv, pattern]) => {
        assert.match(await says(argv, 2), pattern);
      }),
    );
  });
});

describe('a damaged store', () => {
  const up = () => cluster.deckhand(['up', '--detach', '--node-name', 'node-1', '--data-dir', cluster.dataDirectory]);

  test('the node says so and stops; nothing is overwritten; pods are left alone; the repaired file is taken', async () => {
    await livesOn('survivor');
    const before = (await cluster.get('pod', 'survivor')).status.containerStatuses[0].containerID;
    await cluster.down(['--keep-pods']);
    const store = join(cluster.dataDirectory, 'store');
    const [name] = (await readdir(store)).filter((one) => !/-(wal|shm)$/.test(one));
    const file = join(store, name!);
    const good = await readFile(file);
    const torn = Buffer.from(good.subarray(0, Math.floor(good.length / 2)));
    torn.fill(0xa5, 4096, 8192);
    await writeFile(file, torn);
    try {
      const fingerprintBefore = digest(await readFile(file));
      const result = await up();
      assert.equal(result.status, 1, result.stdout);
      assert.match(result.stderr, /^deckhand: .*is damaged .*(restore a copy|move it away)/);
      assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
      assert.equal(digest(await readFile(file)), fingerprintBefore);
    } finally {
      await writeFile(file, good);
    }
    await cluster.up();
    await livesOn('survivor');
    assert.equal((await cluster.get('pod', 'survivor')).status.containerStatuses[0].containerID, before);
  });

  test('a file of a newer version is refused', async () => {
    await cluster.down();
    const store = join(cluster.dataDirectory, 'store');
    const [name] = (await readdir(store)).filter((one) => !/-(wal|shm)$/.test(one));
    const file = join(store, name!);
    const handle = await open(file, 'r+');
    // The user version stands at offset 60 of an SQLite file.
    await handle.write(Buffer.from([0, 0, 0, 99]), 0, 4, 60);
    await handle.close();
    const before = digest(await readFile(file));
    const result = await up();
    assert.equal(result.status, 1, result.stdout);
    assert.match(result.stderr, /was written by a newer version \(layout 99, this one knows 1\)/);
    assert.equal(digest(await readFile(file)), before);
  });
});

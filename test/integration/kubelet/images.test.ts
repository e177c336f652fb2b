/** Images on a whole node: who may pull and use what, with which logins, and what a pod says while it waits. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '../../../src/api/index.ts';
import { pollUntil } from '../../../src/async/index.ts';
import type { Cluster } from '../../support/cluster.ts';
import { FaultyRegistry } from '../../support/faulty-registry.ts';
import { SuiteNode } from '../../support/suite-node.ts';

const login = { username: 'me', password: 'swordfish' };
const auth = Buffer.from('me:swordfish').toString('base64');

const rbac = 'rbac.authorization.k8s.io';
const audience = [
  {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRole',
    metadata: { name: 'ask-for-registry' },
    rules: [
      { apiGroups: [''], resources: ['registry.test'], verbs: ['request-serviceaccounts-token-audience'] },
      { apiGroups: [''], resources: ['serviceaccounts'], verbs: ['get'] },
    ],
  },
  {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name: 'ask-for-registry' },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'ask-for-registry' },
    subjects: [{ kind: 'Group', apiGroup: rbac, name: 'system:nodes' }],
  },
];

/** A program that gives the login, and notes that it was asked. */
const provider = `#!/bin/sh
cat >>"$(dirname "$0")/asked"
echo >>"$(dirname "$0")/asked"
printf '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",'
printf '"cacheKeyType":"Registry","cacheDuration":"1h","auth":{"%s":{"username":"me","password":"swordfish"}}}' "$HOST"
`;

describe('images on a node', () => {
  let node: SuiteNode;
  let cluster: Cluster;
  let closed: FaultyRegistry;
  let provided: FaultyRegistry;
  let slow: FaultyRegistry;

  /** Registries and a credential provider: what the kubelet finds when it starts. */
  const prepare = async (): Promise<void> => {
    [closed, provided, slow] = await Promise.all([
      FaultyRegistry.start(cluster.namespace),
      FaultyRegistry.start(cluster.namespace),
      FaultyRegistry.start(cluster.namespace, 16),
    ]);
    await closed.misbehave({ basic: login });
    await provided.misbehave({ basic: login });
    await slow.misbehave({ slowMs: 100 });
    const directory = join(cluster.dataDirectory, 'providers');
    await mkdir(directory);
    await writeFile(join(directory, 'helper'), provider);
    await chmod(join(directory, 'helper'), 0o755);
    const config = join(cluster.dataDirectory, 'providers.yaml');
    await writeFile(
      config,
      JSON.stringify({
        apiVersion: 'kubelet.config.k8s.io/v1',
        kind: 'CredentialProviderConfig',
        providers: [
          {
            name: 'helper',
            apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
            matchImages: [provided.host],
            defaultCacheDuration: '0s',
            tokenAttributes: {
              serviceAccountTokenAudience: 'registry.test',
              cacheType: 'ServiceAccount',
              requireServiceAccount: true,
              optionalServiceAccountAnnotationKeys: ['registry.test/team'],
            },
            env: [{ name: 'HOST', value: provided.host }],
          },
        ],
      }),
    );
  };

  before(async () => {
    node = await SuiteNode.start(
      'kimages',
      async (starting) => {
        cluster = starting.cluster;
        await prepare();
        return { serializeImagePulls: false };
      },
      () => [
        ...['--kubelet-arg', `image-credential-provider-config=${join(cluster.dataDirectory, 'providers.yaml')}`],
        ...['--kubelet-arg', `image-credential-provider-bin-dir=${join(cluster.dataDirectory, 'providers')}`],
      ],
    );
    await cluster.kubectl(['annotate', 'serviceaccount', 'default', 'registry.test/team=blue']);
    // Only audiences that its pods name may be asked for by a node, unless somebody allows it.
    await cluster.kubectl(['apply', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: audience }),
    });
    await cluster.kubectl([
      ...['create', 'secret', 'docker-registry', 'login', `--docker-server=${closed.host}`],
      ...['--docker-username=me', '--docker-password=swordfish'],
    ]);
  });
  after(async () => {
    for (const registry of [closed, provided, slow]) await registry?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const apply = (name: string, image: string, more: object = {}, container: object = {}) =>
    cluster.kubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'main', image, ...container }], ...more },
      }),
    });
  const withLogin = { imagePullSecrets: [{ name: 'login' }] };
  const until = (what: string, name: string, holds: (pod: Pod) => boolean): Promise<Pod> =>
    pollUntil(
      `${name}: ${what}`,
      async () => {
        const pod = (await cluster.get('pod', name).catch(() => undefined)) as Pod | undefined;
        return pod && holds(pod) ? pod : undefined;
      },
      { timeoutMs: 40_000, intervalMs: 100 },
    );
  const running = (name: string) =>
    until('running', name, (pod) => pod.status?.containerStatuses?.[0]?.state?.running !== undefined);
  const waiting = (name: string, reason: string) =>
    until(reason, name, (pod) => pod.status?.containerStatuses?.[0]?.state?.waiting?.reason === reason);
  const messageOf = (pod: Pod) => pod.status?.containerStatuses?.[0]?.state?.waiting?.message ?? '';
  const events = async (name: string): Promise<{ reason: string; message: string }[]> =>
    (await cluster.get('events', '--field-selector', `involvedObject.name=${name}`)).items;
  const event = (name: string, message: RegExp) =>
    pollUntil(`${name}: event ${message}`, async () => (await events(name)).some((one) => message.test(one.message)), {
      timeoutMs: 20_000,
      intervalMs: 200,
    });
  const ifAbsent = { imagePullPolicy: 'IfNotPresent' };
  const never = { imagePullPolicy: 'Never' };

  describe('side by side', { concurrency: 8 }, () => {
    test('an image pulled with a secret is only for pods that show one, also after the kubelet was killed', async () => {
      const image = closed.image('private');
      await apply('owner', image, withLogin, ifAbsent);
      await running('owner');
      const [record] = await readdir(join(cluster.dataDirectory, 'kubelet/image_manager/pulled'));
      const text = await readFile(join(cluster.dataDirectory, 'kubelet/image_manager/pulled', record!), 'utf8');
      assert.ok(!text.includes('swordfish') && !text.includes(auth), 'no login is written down');
      await apply('friend', image, withLogin, ifAbsent);
      await running('friend');
      await event('friend', /already present on machine and can be accessed by the pod/);
      await apply('stranger', image, {}, ifAbsent);
      assert.match(messageOf(await waiting('stranger', 'ErrImagePull')), /401|unauthorized|authori/i);
      await apply('sly', image, {}, never);
      await waiting('sly', 'ErrImageNeverPull');
      process.kill(await cluster.pidOf('kubelet'), 'SIGKILL');
      await apply('again', image, withLogin, never);
      await running('again');
      await apply('sly-again', image, {}, never);
      await waiting('sly-again', 'ErrImageNeverPull');
    });

    test('a credential provider gives logins, and is asked once for as long as it says', async () => {
      await apply('first', provided.image('good'));
      await running('first');
      await apply('second', provided.image('again'));
      await running('second');
      const asked = await readFile(join(cluster.dataDirectory, 'providers/asked'), 'utf8');
      const requests = asked
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.equal(requests[0].kind, 'CredentialProviderRequest');
      assert.match(requests[0].image, new RegExp(`^${provided.host}/test/(good|again)$`));
      assert.equal(requests[0].serviceAccountToken.split('.').length, 3, 'a token of the pod');
      assert.deepEqual(requests[0].serviceAccountAnnotations, { 'registry.test/team': 'blue' });
      // A killed kubelet has to ask again.
      assert.ok(requests.length <= 2, `${requests.length} requests`);
      await cluster.kubectl(['create', 'serviceaccount', 'other']);
      await apply('other-account', provided.image('again'), { serviceAccountName: 'other' }, never);
      await waiting('other-account', 'ErrImageNeverPull');
      await apply('same-account', provided.image('again'), {}, never);
      await running('same-account');
    });

    test("a login of the node's own file is for every pod, from the moment it is written", async () => {
      const image = closed.image('again');
      await apply('early', image, {}, ifAbsent);
      await waiting('early', 'ErrImagePull');
      const auths = { [`${closed.host}/test/again`]: { auth } };
      await writeFile(join(cluster.dataDirectory, 'kubelet/config.json'), JSON.stringify({ auths }), { mode: 0o600 });
      await apply('node-login', image, {}, ifAbsent);
      await running('node-login');
      await apply('node-user', image, {}, never);
      await running('node-user');
    });

    test('a pull that fails is told, waits longer each time, and says so', async () => {
      await apply('absent', `${slow.host}/test/nothing:v1`);
      const failed = await waiting('absent', 'ErrImagePull');
      assert.match(messageOf(failed), /not found|NotFound|404|unknown/i);
      const backing = await waiting('absent', 'ImagePullBackOff');
      assert.match(messageOf(backing), /^Back-off pulling image ".*": ErrImagePull: /);
      await event('absent', /^Back-off pulling image/);
      await event('absent', /^Failed to pull image/);
    });

    test('a name that is none, a missing secret and an image that is not to be pulled are told as what they are', async () => {
      await apply('bad-name', 'UPPER/Case');
      await waiting('bad-name', 'InvalidImageName');
      await apply('unpulled', `${slow.host}/test/refused:v1`, {}, never);
      await waiting('unpulled', 'ErrImageNeverPull');
      await apply('no-secret', slow.image('reset'), { imagePullSecrets: [{ name: 'nowhere' }] });
      await running('no-secret');
      await event('no-secret', /Unable to retrieve some image pull secrets \(nowhere\)/);
    });

    test('a pod that is deleted in the midst of its pull is gone at once, and pulls of others go on', async () => {
      await apply('large', slow.image('large'));
      await event('large', /^Pulling image/);
      const before = performance.now();
      await cluster.kubectl(['delete', 'pod', 'large', '--wait=true', '--timeout=20s']);
      // The rest of it alone would have taken longer than this.
      assert.ok(performance.now() - before < 15_000);
    });
  });
});

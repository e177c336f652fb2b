import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { createLogger } from '../../log/index.ts';
import { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { makePod } from '../testing/pods.ts';
import { parseCredentialProviders, readCredentialProviders } from './credential-provider-config.ts';
import { CredentialProviders } from './credential-providers.ts';
import { parseImageName } from './image-name.ts';
import { matchingCredentials } from './pull-secrets.ts';

const head = 'apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n';
const v1 = 'credentialprovider.kubelet.k8s.io/v1';

/** Notes what it is asked, and answers what stands in its environment. */
const program = '#!/bin/sh\n{ cat; echo; } >>"$(dirname "$0")/asked"\nprintf %s "$ANSWER"\nexit $STATUS\n';

describe('credential providers', () => {
  let directory: string;
  let clock: FakeClock;
  const lines: string[] = [];
  const pod = makePod({}, { uid: 'uid-1' });
  pod.spec.serviceAccountName = 'robot';

  const answer = (password: string, cacheKeyType = 'Image', cacheDuration?: string) =>
    JSON.stringify({
      kind: 'CredentialProviderResponse',
      apiVersion: v1,
      cacheKeyType,
      ...(cacheDuration ? { cacheDuration } : {}),
      auth: { 'registry.test': { username: 'me', password } },
    });
  const open = async (said: string, more: object = {}, client?: ApiClient): Promise<CredentialProviders> => {
    const provider = {
      name: 'helper',
      apiVersion: v1,
      matchImages: ['registry.test', '*.sub.test:5000/path'],
      defaultCacheDuration: '10m',
      env: [{ name: 'ANSWER', value: said }],
      ...more,
    };
    await writeFile(join(directory, 'config.yaml'), `${head}providers: ${JSON.stringify([provider])}\n`);
    const { providers } = await readCredentialProviders(join(directory, 'config.yaml'), directory);
    const log = createLogger('test', (_, __, message, { error }) => lines.push(`${message}: ${error}`));
    const all = new CredentialProviders({ client, metrics: new KubeletMetrics(), clock, log });
    all.use(providers, directory);
    return all;
  };
  const passwords = async (all: CredentialProviders, image: string) => {
    const name = parseImageName(image);
    return matchingCredentials(name, await all.entries(pod, name)).map(({ password }) => password);
  };
  const asked = async () =>
    (await readFile(join(directory, 'asked'), 'utf8').catch(() => ''))
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-logins-'));
    clock = new FakeClock(1_000_000);
    lines.length = 0;
    await writeFile(join(directory, 'helper'), program);
    await chmod(join(directory, 'helper'), 0o755);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('are asked about images that fit their patterns only', async () => {
    const all = await open(answer('secret'));
    assert.deepEqual(await passwords(all, 'registry.test/app:1'), ['secret']);
    assert.deepEqual(await passwords(all, 'elsewhere.test/app:1'), []);
    assert.deepEqual(await asked(), [
      { kind: 'CredentialProviderRequest', apiVersion: v1, image: 'registry.test/app' },
    ]);
    await passwords(all, 'a.sub.test:5000/path/x');
    assert.equal((await asked()).length, 2);
  });

  it('are remembered by image, registry or for all, as long as they say', async () => {
    const byImage = await open(answer('1'));
    for (const image of ['registry.test/a', 'registry.test/a:2', 'registry.test/b']) await passwords(byImage, image);
    assert.equal((await asked()).length, 2);
    await clock.advance(601_000);
    await passwords(byImage, 'registry.test/a');
    assert.equal((await asked()).length, 3);
    const byRegistry = await open(answer('2', 'Registry', '1m'));
    for (const image of ['registry.test/a', 'registry.test/b']) await passwords(byRegistry, image);
    assert.equal((await asked()).length, 4);
    const never = await open(answer('3', 'Global', '0s'));
    for (const image of ['registry.test/a', 'registry.test/a']) await passwords(never, image);
    assert.equal((await asked()).length, 6);
  });

  it('are asked once by pods that start together', async () => {
    const all = await open(answer('1'));
    await Promise.all([1, 2, 3].map(() => passwords(all, 'registry.test/a')));
    assert.equal((await asked()).length, 1);
  });

  it('give no login when they fail, and the log says why without their output', async () => {
    const cases: [string, object, RegExp][] = [
      ['x', { env: [{ name: 'STATUS', value: '3' }] }, /ended with status 3/],
      ['hunter2', {}, /its output is not JSON/],
      [answer('hunter2', 'Node'), {}, /cacheKeyType must be/],
      [answer('hunter2').replace(v1, `${v1}beta1`), {}, /v1beta1 .* is wanted/],
    ];
    for (const [said, more, expected] of cases) {
      assert.deepEqual(await passwords(await open(said, more), 'registry.test/a'), []);
      assert.match(lines.at(-1)!, expected);
      assert.ok(!lines.at(-1)!.includes('hunter2'));
    }
  });

  it('get a token of the pod and the annotations they ask for', async () => {
    const requests: unknown[] = [];
    const client = {
      get: async () => ({ metadata: { uid: 'sa-1', annotations: { 'x.test/role': 'reader', other: '1' } } }),
      request: async (_: string, path: string, { body }: { body: unknown }) => {
        requests.push([path, body]);
        return { status: 201, headers: {}, body: Buffer.from(JSON.stringify({ status: { token: 'T' } })) };
      },
    } as unknown as ApiClient;
    const tokenAttributes = {
      serviceAccountTokenAudience: 'registry.test',
      cacheType: 'ServiceAccount',
      requireServiceAccount: true,
      requiredServiceAccountAnnotationKeys: ['x.test/role'],
    };
    const all = await open(answer('secret'), { tokenAttributes }, client);
    const [entries] = await all.entries(pod, parseImageName('registry.test/a'));
    assert.deepEqual(entries!.source, { serviceAccount: { uid: 'sa-1', namespace: 'default', name: 'robot' } });
    const [request] = await asked();
    assert.equal(request.serviceAccountToken, 'T');
    assert.deepEqual(request.serviceAccountAnnotations, { 'x.test/role': 'reader' });
    const echo = await open(answer('T'), { tokenAttributes }, client);
    assert.deepEqual(await echo.entries(pod, parseImageName('registry.test/a')), []);
    assert.match(lines.at(-1)!, /needs cacheType Token/);
    const missing = { ...tokenAttributes, requiredServiceAccountAnnotationKeys: ['absent'] };
    const none = await open(answer('secret'), { tokenAttributes: missing }, client);
    assert.deepEqual(await none.entries(pod, parseImageName('registry.test/a')), []);
    assert.equal((await asked()).length, 2);
  });

  it('a configuration that cannot be used is refused, naming where', async () => {
    const provider = { name: 'helper', apiVersion: v1, matchImages: ['a.test'], defaultCacheDuration: '1m' };
    const cases: [object, RegExp][] = [
      [{ ...provider, name: '../x' }, /providers\[0\]\.name: .* is not the name of a file/],
      [{ ...provider, apiVersion: 'v1' }, /apiVersion: must be/],
      [{ ...provider, matchImages: [] }, /matchImages: at least one/],
      [{ ...provider, defaultCacheDuration: 'soon' }, /defaultCacheDuration: must be a duration/],
      [{ ...provider, extra: 1 }, /unknown field "extra"/],
      [
        { ...provider, tokenAttributes: { serviceAccountTokenAudience: 'a' } },
        /requireServiceAccount: must be true or false/,
      ],
    ];
    for (const [one, expected] of cases)
      assert.throws(() => parseCredentialProviders(`${head}providers: ${JSON.stringify([one])}`, 'f'), expected);
    await writeFile(join(directory, 'c.json'), `${head}providers: ${JSON.stringify([{ ...provider, name: 'gone' }])}`);
    await assert.rejects(
      readCredentialProviders(join(directory, 'c.json'), directory),
      /provider gone: .*\/gone is not there/,
    );
  });
});

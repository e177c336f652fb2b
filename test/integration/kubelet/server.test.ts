/** The kubelet's servers: who may what, each endpoint, streams by raw clients, errors in the words that users know. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pollUntil } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { KubeletSuite } from '../../support/kubelet-suite.ts';

const secure = 'https://127.0.0.1:10250';
const webSocketClient = join(import.meta.dirname, '../../support/web-socket-client-process.ts');

describe('the server of the kubelet', { concurrency: 6 }, () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let suite: KubeletSuite;
  /** By service account. */
  const tokens = new Map<string, string>();
  const logFile = `/var/log/deckhand-test-${process.pid}.log`;

  before(async () => {
    await writeFile(logFile, 'one line\nanother line\n');
    cluster = await Cluster.withKubelet('kserver', {
      readOnlyPort: 10255,
      enableSystemLogQuery: true,
      streamingConnectionIdleTimeout: '3s',
      authorization: { mode: 'Webhook', webhook: { cacheAuthorizedTTL: '5m0s', cacheUnauthorizedTTL: '1s' } },
    });
    registry = await DemoRegistry.start(cluster.namespace);
    suite = new KubeletSuite(cluster, registry.image('v1'));
    const accounts: Record<string, string[]> = {
      metrics: ['nodes/metrics'],
      pods: ['nodes/pods', 'nodes/healthz', 'nodes/configz'],
      all: [
        'nodes/proxy',
        'nodes/log',
        'nodes/stats',
        'nodes/metrics',
        'nodes/checkpoint',
        'nodes/statusz',
        'nodes/configz',
      ],
      none: [],
    };
    for (const [name, resources] of Object.entries(accounts)) {
      await cluster.kubectl(['create', 'serviceaccount', name]);
      if (resources.length > 0) {
        const flags = ['--verb=get,create,update', `--resource=${resources.join(',')}`];
        await cluster.kubectl(['create', 'clusterrole', `node-${name}`, ...flags]);
        const role = [`--clusterrole=node-${name}`, `--serviceaccount=default:${name}`];
        await cluster.kubectl(['create', 'clusterrolebinding', `node-${name}`, ...role]);
      }
      tokens.set(name, (await cluster.kubectl(['create', 'token', name])).trim());
    }
    await suite.apply(
      suite.pod('box', {}),
      suite.pod('waits', { container: { image: 'example.test/none:1', imagePullPolicy: 'Never' } }),
    );
    await suite.ready('box');
  });
  after(async () => {
    await rm(logFile, { force: true });
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  /** What an address answers, asked from within the cluster's network. */
  async function ask(url: string, account?: string, more: string[] = []): Promise<{ status: number; body: string }> {
    const header = account === undefined ? [] : ['-H', `Authorization: Bearer ${tokens.get(account) ?? account}`];
    const { stdout } = await cluster.namespace.run([
      'curl',
      '-sk',
      '-m',
      '20',
      '-w',
      '\n%{http_code}',
      ...header,
      ...more,
      url,
    ]);
    const at = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
  }
  const get = (path: string, account = 'all', more: string[] = []) => ask(`${secure}${path}`, account, more);
  const post = (path: string, account = 'all', more: string[] = []) => get(path, account, ['-X', 'POST', ...more]);

  test('strangers are refused, also with a token that nobody gave', async () => {
    assert.deepEqual(await ask(`${secure}/pods`), { status: 401, body: 'Unauthorized' });
    assert.equal((await ask(`${secure}/pods`, 'not-a-token')).status, 401);
  });

  test('each path asks for its own permission, and older rules on nodes/proxy still do', async () => {
    const allowed: [string, string][] = [
      ['metrics', '/metrics'],
      ['metrics', '/metrics/cadvisor'],
      ['metrics', '/metrics/resource'],
      ['metrics', '/metrics/probes'],
      ['pods', '/pods'],
      ['pods', '/runningpods/'],
      ['pods', '/healthz'],
      ['pods', '/configz'],
      ['all', '/pods'],
      ['all', '/stats/summary'],
      ['all', '/statusz'],
      ['all', '/flagz'],
    ];
    for (const [account, path] of allowed) assert.equal((await get(path, account)).status, 200, `${account} ${path}`);
    const denied: [string, string, string][] = [
      ['metrics', '/pods', 'pods proxy'],
      ['metrics', '/stats/summary', 'stats'],
      ['pods', '/metrics', 'metrics'],
      ['pods', '/logs/', 'log'],
      ['pods', '/containerLogs/default/box/main', 'proxy'],
      ['none', '/healthz', 'healthz proxy'],
    ];
    for (const [account, path, subresources] of denied) {
      const { status, body } = await get(path, account);
      assert.equal(status, 403, `${account} ${path}`);
      assert.equal(
        body,
        `Forbidden (user=system:serviceaccount:default:${account}, verb=get, resource=nodes, subresource(s)=[${subresources}])`,
      );
    }
  });

  test('a permission that is given later counts soon', async () => {
    await cluster.kubectl(['create', 'serviceaccount', 'later']);
    tokens.set('later', (await cluster.kubectl(['create', 'token', 'later'])).trim());
    assert.equal((await get('/metrics', 'later')).status, 403);
    const role = ['--clusterrole=node-metrics', '--serviceaccount=default:later'];
    await cluster.kubectl(['create', 'clusterrolebinding', 'node-later', ...role]);
    await pollUntil('may read', async () => (await get('/metrics', 'later')).status === 200, {
      timeoutMs: 10_000,
      intervalMs: 300,
    });
  });

  test('health: each check alone and all together, on its own port without asking who', async () => {
    for (const path of ['/healthz', '/healthz/ping', '/healthz/log', '/healthz/syncloop'])
      assert.deepEqual(await ask(`http://127.0.0.1:10248${path}`), { status: 200, body: 'ok' }, path);
    const { body } = await get('/healthz?verbose');
    assert.equal(body, '[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n');
    assert.equal((await ask('http://127.0.0.1:10248/healthz/other')).status, 404);
    assert.equal((await ask('http://127.0.0.1:10248/pods')).status, 404);
  });

  test('the read-only port tells and does nothing', async () => {
    const open = 'http://127.0.0.1:10255';
    for (const path of ['/pods', '/healthz', '/stats/summary', '/metrics', '/metrics/cadvisor'])
      assert.equal((await ask(`${open}${path}`)).status, 200, path);
    for (const path of [
      '/run/default/box/main?cmd=id',
      '/exec/default/box/main',
      '/logs/',
      '/containerLogs/default/box/main',
    ])
      assert.deepEqual(
        await ask(`${open}${path}`, undefined, ['-X', 'POST']),
        { status: 405, body: 'Debug endpoints are disabled.\n' },
        path,
      );
    assert.equal((await ask(`${open}/configz`)).status, 404);
  });

  test('pods as they are meant to be, and those that run', async () => {
    const list = JSON.parse((await get('/pods')).body);
    assert.equal(list.kind, 'PodList');
    assert.ok(list.items.find((pod: any) => pod.metadata.name === 'waits'));
    const running = JSON.parse((await get('/runningpods/')).body);
    assert.deepEqual(
      running.items.map((pod: any) => pod.metadata.name).filter((name: string) => ['box', 'waits'].includes(name)),
      ['box'],
    );
    assert.equal(running.items.find((pod: any) => pod.metadata.name === 'box').spec.containers[0].name, 'main');
  });

  test('configz is a KubeletConfiguration with kind and version', async () => {
    const { kubeletconfig } = JSON.parse((await get('/configz')).body);
    assert.equal(kubeletconfig.kind, 'KubeletConfiguration');
    assert.equal(kubeletconfig.apiVersion, 'kubelet.config.k8s.io/v1beta1');
    assert.equal(kubeletconfig.readOnlyPort, 10_255);
    assert.equal(kubeletconfig.containerLogMaxSize, '10Mi');
  });

  test('statusz and flagz, for people and for programs', async () => {
    const status = (await get('/statusz')).body;
    assert.match(status, /^\nkubelet statusz\n/);
    assert.match(status, /Binary version: 1\.36/);
    assert.match(status, /Paths: .*\/configz/);
    const json = ['-H', 'Accept: application/json;v=v1alpha1;g=config.k8s.io;as=Statusz'];
    assert.equal(JSON.parse((await get('/statusz', 'all', json)).body).kind, 'Statusz');
    assert.match((await get('/flagz')).body, /hostname-override=node-1/);
  });

  test('run gives what a command says; one that fails says how', async () => {
    assert.deepEqual(await post('/run/default/box/main?cmd=echo%20hello'), { status: 200, body: 'hello\n' });
    const failed = await post('/run/default/box/main?cmd=cat%20/nowhere');
    assert.equal(failed.status, 500);
    assert.match(failed.body, /^command 'cat \/nowhere' exited with 1: .*nowhere/);
    assert.equal((await get('/run/default/box/main?cmd=id')).status, 405);
  });

  test('what is not there is said in the words that users know', async () => {
    const cases: [string, number, RegExp][] = [
      ['/containerLogs/default/nobody/main', 404, /^pod "nobody" does not exist$/],
      ['/containerLogs/default/box/other', 404, /^container "other" not found in pod "box"$/],
      [
        '/containerLogs/default/waits/main',
        400,
        /^container "main" in pod "waits" is waiting to start: ErrImageNeverPull$/,
      ],
      [
        '/containerLogs/default/box/main?previous=true',
        400,
        /^previous terminated container "main" in pod "box" not found$/,
      ],
      ['/containerLogs/default/box/main?tailLines=x', 400, /tailLines/],
      ['/containerLogs/default/box/main?stream=Other', 400, /invalid stream type/],
      ['/nothing', 404, /^404 page not found$/],
      ['/exec/default/box/main', 400, /Upgrade request required/],
    ];
    for (const [path, status, body] of cases) {
      const answer = await get(path);
      assert.equal(answer.status, status, `${path}: ${answer.body}`);
      assert.match(answer.body, body, path);
    }
    const streams = await cluster.tryKubectl(['exec', 'waits', '--', 'id']);
    assert.notEqual(streams.status, 0);
    assert.match(streams.stderr, /container not found \("main"\)/);
  });

  test('a checkpoint that cannot be made says why', async () => {
    const { status, body } = await post('/checkpoint/default/box/main');
    assert.equal(status, 500);
    assert.match(body, /^checkpointing of default\/box\/main failed \(/);
    assert.match((await post('/checkpoint/default/box/other')).body, /^container other does not exist$/);
    assert.equal((await post('/checkpoint/default/none/main')).status, 404);
  });

  test('files of the node, and what its services have logged', async () => {
    const name = logFile.split('/').at(-1)!;
    assert.match((await get('/logs/')).body, new RegExp(`<a href="${name}">`));
    assert.equal((await get(`/logs/${name}`)).body, 'one line\nanother line\n');
    assert.equal((await get('/logs/no-such-file')).status, 404);
    assert.equal((await get('/logs/..%2F..%2Fetc%2Fpasswd')).status, 404);
    assert.equal((await get(`/logs/?query=${name.replace(/\.log$/, '')}`)).body, 'one line\nanother line\n');
    assert.equal((await get(`/logs/?query=/${name}`)).body, 'one line\nanother line\n');
    const bad = await get('/logs/?query=a%20b&tailLines=many&sinceTime=yesterday');
    assert.equal(bad.status, 400);
    for (const field of ['query', 'tailLines', 'sinceTime'])
      assert.match(bad.body, new RegExp(`${field}: Invalid value`));
  });

  test('profiles of the process: its processor time and its memory', async () => {
    const profile = JSON.parse((await get('/debug/pprof/profile?seconds=0.3')).body);
    assert.ok(Array.isArray(profile.nodes) && profile.nodes.length > 0);
    const { body } = await get('/debug/pprof/heap', 'all', ['-r', '0-2000', '--max-filesize', '500000000']);
    assert.match(body.slice(0, 200), /^\{"snapshot"/);
    assert.equal((await get('/debug/pprof/goroutine')).status, 404);
    assert.equal((await get('/debug/pprof/profile?seconds=-1')).status, 400);
  });

  test('how much is logged can be changed', async () => {
    const put = (level: string) => get('/debug/flags/v', 'all', ['-X', 'PUT', '-d', level]);
    assert.deepEqual(await put('4'), { status: 200, body: 'successfully set klog.logging.verbosity to 4' });
    assert.equal((await put('2')).status, 200);
    assert.equal((await put('much')).status, 400);
  });

  /** A raw WebSocket, straight to the kubelet. */
  async function stream(path: string, protocol: string, stdin?: string): Promise<any> {
    const url = `wss://127.0.0.1:10250${path}`;
    const argv = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      webSocketClient,
      url,
      protocol,
      tokens.get('all')!,
    ];
    const { stdout } = await cluster.namespace.run([...argv, ...(stdin === undefined ? [] : [stdin])]);
    return JSON.parse(stdout);
  }

  const command = (script: string) => ['sh', '-c', script].map((one) => `command=${encodeURIComponent(one)}`).join('&');

  test('exec by raw WebSockets in every protocol', async () => {
    const path = `/exec/default/box/main?input=1&output=1&error=1&${command('head -c 3; echo; echo err >&2; exit 3')}`;
    for (const protocol of ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'channel.k8s.io', 'base64.channel.k8s.io']) {
      const { channels, ...rest } = await stream(path, protocol, 'abcdef');
      assert.equal(rest.protocol, protocol);
      assert.equal(channels['1'], 'abc\n', protocol);
      assert.equal(channels['2'], 'err\n', protocol);
      assert.match(channels['3'], /exit code|exit status|"3"|code 3/, protocol);
    }
    const refused = await stream('/exec/default/none/main?output=1&command=id', 'v4.channel.k8s.io');
    assert.deepEqual([refused.status, refused.body], [404, 'pod does not exist']);
    const uid = (await cluster.get('pod', 'box')).metadata.uid;
    const byUid = await stream(`/exec/default/box/${uid}/main?output=1&command=echo&command=hi`, 'v4.channel.k8s.io');
    assert.equal(byUid.channels['1'], 'hi\n');
  });

  test('a stream over which nothing goes is ended after streamingConnectionIdleTimeout', async () => {
    const { ms, error } = await stream(`/exec/default/box/main?output=1&${command('sleep 1000')}`, 'v4.channel.k8s.io');
    assert.equal(error, undefined);
    assert.ok(ms >= 2500 && ms < 15_000, `${ms} ms`);
  });

  test('a timeline tells where the time of a pod went, also as JSON', async () => {
    const argv = ['timeline', 'box', '--data-dir', cluster.dataDirectory];
    const { stdout, stderr, status } = await cluster.deckhand(argv);
    assert.equal(status, 0, stderr);
    for (const step of ['seen', 'sandbox', 'image', 'create container', 'start container', 'ready', 'status written'])
      assert.match(stdout, new RegExp(`\\b${step}\\b`), stdout);
    assert.match(stdout, /status written +Running, Ready/);
    const json = JSON.parse((await cluster.deckhand([...argv, '-o', 'json'])).stdout);
    assert.equal(json.name, 'box');
    assert.ok(json.steps.every(({ atMs }: any) => typeof atMs === 'number'));
    const missing = await cluster.deckhand(['timeline', 'nobody', '--data-dir', cluster.dataDirectory]);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /no kubelet knows pod default\/nobody/);
    assert.equal((await cluster.deckhand(['timeline'])).status, 2);
  });
});

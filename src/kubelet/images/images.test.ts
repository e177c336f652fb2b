import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Secret } from '../../api/index.ts';
import { FakeClock } from '../../async/index.ts';
import { defaultPullPolicy, parseImageName, withDefaultTag } from './image-name.ts';
import { PullQueue } from './pull-queue.ts';
import { matchingCredentials, secretEntries } from './pull-secrets.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('parseImageName', () => {
  it('fills in what users leave out', () => {
    const cases: [string, string][] = [
      ['busybox', 'docker.io/library/busybox:latest'],
      ['me/app:2', 'docker.io/me/app:2'],
      ['localhost/app', 'localhost/app:latest'],
      ['127.0.0.1:5000/a/b:x', '127.0.0.1:5000/a/b:x'],
      [`example.test/app@${digest}`, `example.test/app@${digest}`],
      [`example.test/app:1@${digest}`, `example.test/app:1@${digest}`],
    ];
    for (const [text, full] of cases) assert.equal(parseImageName(text).full, full);
    assert.equal(withDefaultTag('example.test/app'), 'example.test/app:latest');
    assert.equal(withDefaultTag('example.test/app:1'), 'example.test/app:1');
  });

  it('refuses what is no name', () => {
    for (const text of ['', 'UPPER/App', 'a b', 'a:b:c', 'a@sha256:short', '-a']) {
      assert.throws(() => parseImageName(text), { reason: 'InvalidImageName' }, text);
    }
  });

  it('pulls latest always', () => {
    assert.deepEqual(['a', 'a:latest', 'a:1', `a@${digest}`].map(defaultPullPolicy), [
      'Always',
      'Always',
      'IfNotPresent',
      'IfNotPresent',
    ]);
  });
});

describe('pull secrets', () => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64');
  const secret = (auths: object) =>
    ({ type: 'kubernetes.io/dockerconfigjson', data: { '.dockerconfigjson': encode({ auths }) } }) as unknown as Secret;
  const users = (image: string, auths: object) =>
    matchingCredentials(parseImageName(image), [{ entries: secretEntries(secret(auths)) }]).map(
      ({ username }) => username,
    );
  const login = (name: string) => ({ auth: Buffer.from(`${name}:pw`).toString('base64') });

  it('finds logins by registry and path, the most exact first', () => {
    const auths = { 'r.test': login('all'), 'r.test/team': login('team'), 'other.test': login('other') };
    assert.deepEqual(users('r.test/team/app:1', auths), ['team', 'all']);
    assert.deepEqual(users('r.test/teams/app:1', auths), ['all']);
  });

  it('knows wildcards, ports, URLs and the names of the default registry', () => {
    assert.deepEqual(users('a.r.test/x:1', { '*.r.test': login('w') }), ['w']);
    assert.deepEqual(users('a.b.r.test/x:1', { '*.r.test': login('w') }), []);
    assert.deepEqual(users('r.test:5000/x:1', { 'r.test:5000': login('p'), 'r.test': login('n') }), ['p']);
    assert.deepEqual(users('busybox', { 'https://index.docker.io/v1/': login('hub') }), ['hub']);
  });

  it('reads the old form, and passes over what is malformed', () => {
    const old = {
      type: 'kubernetes.io/dockercfg',
      data: { '.dockercfg': encode({ 'r.test': { username: 'u', password: 'p' } }) },
    };
    const [credential] = matchingCredentials(parseImageName('r.test/x:1'), [
      { entries: secretEntries(old as unknown as Secret) },
    ]);
    assert.deepEqual([credential?.username, credential?.password], ['u', 'p']);
    const broken = { type: 'kubernetes.io/dockerconfigjson', data: { '.dockerconfigjson': '!!' } };
    assert.deepEqual(secretEntries(broken as unknown as Secret), {});
  });
});

describe('PullQueue', () => {
  it('runs so many at once, in order, and skips those that gave up', async () => {
    const queue = new PullQueue({ clock: new FakeClock(), maximumParallel: 1, pullsPerSecond: 0, burst: 0 });
    const order: string[] = [];
    let finish: () => void = () => {};
    const first = queue.run(() => new Promise<void>((resolve) => (finish = resolve)));
    const controller = new AbortController();
    const second = queue.run(async () => void order.push('second'), controller.signal);
    const third = queue.run(async () => void order.push('third'));
    controller.abort(new Error('gone'));
    await assert.rejects(second, /gone/);
    finish();
    await Promise.all([first, third]);
    assert.deepEqual(order, ['third']);
  });

  it('refuses pulls beyond the rate', async () => {
    const clock = new FakeClock();
    const queue = new PullQueue({ clock, pullsPerSecond: 1, burst: 2 });
    await queue.run(async () => {});
    await queue.run(async () => {});
    await assert.rejects(
      queue.run(async () => {}),
      /pull QPS exceeded/,
    );
    await clock.advance(1000);
    await queue.run(async () => {});
  });
});

/** The command line and the files of a kubelet that is started alone: what it takes, and what it refuses. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pollUntil, systemClock } from '../../../src/async/index.ts';
import { Daemons } from '../../support/daemons.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import type { Result } from '../../support/processes.ts';

const deckhand = join(import.meta.dirname, '../../../bin/deckhand');

describe('a kubelet alone', { concurrency: 8 }, () => {
  let directory: string;
  let namespace: NetworkNamespace;
  let daemons: Daemons;
  const kubelet = (...argv: string[]): Promise<Result> => namespace.run([deckhand, 'kubelet', ...argv]);
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-kalone-'));
    namespace = await NetworkNamespace.create('kalone');
    daemons = new Daemons(namespace, directory);
  });
  after(async () => {
    await daemons?.[Symbol.asyncDispose]();
    await namespace?.[Symbol.asyncDispose]();
    if (directory) await rm(directory, { recursive: true, force: true });
  });
  const file = async (name: string, fields: object): Promise<string> => {
    const head = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
    await writeFile(join(directory, name), JSON.stringify({ ...head, ...fields }));
    return join(directory, name);
  };
  const standalone = async (name: string, port: number, fields: object, ...argv: string[]) => {
    const config = await file(`${name}.yaml`, {
      containerRuntimeEndpoint: `unix://${directory}/nothing.sock`,
      enableServer: false,
      healthzPort: port,
      podLogsDir: join(directory, name, 'logs'),
      makeIPTablesUtilChains: false,
      ...fields,
    });
    return daemons.component('kubelet', ['--config', config, '--root-dir', join(directory, name), ...argv]);
  };

  test('--help lists upstream’s flags, --version says whose kubelet it is; both with status 0', async () => {
    const help = await kubelet('--help');
    assert.equal(help.status, 0);
    for (const flag of ['--bootstrap-kubeconfig', '--node-ip', '--eviction-hard', '--housekeeping-interval', '-v, --v'])
      assert.ok(help.stdout.includes(flag), flag);
    assert.deepEqual(await kubelet('--version'), { status: 0, stdout: 'Kubernetes v1.36.2\n', stderr: '' });
  });

  test('what is not understood ends with status 2 and one sentence that names it', async () => {
    const config = await file('wrong.yaml', { maxPodz: 1 });
    const cases: [string[], RegExp][] = [
      [['--max-podz=1'], /unknown option '--max-podz/],
      [['--max-pods=many'], /--max-pods: "many" is no whole number/],
      [['--config', config], /wrong\.yaml: maxPodz: unknown field/],
      [['--feature-gates=Unheard=true'], /--feature-gates: Unheard: unknown feature gate/],
      [['--feature_gates=EventedPLEG=true'], /--feature-gates: EventedPLEG: the alpha feature is not implemented/],
      [['--system-cgroups=/x'], /--system-cgroups: "\/x": /],
      [['--node-ip=10.0.0.1,10.0.0.2'], /at most one address of each family/],
      [['--node-labels=kubernetes.io/role=a'], /--node-labels: kubernetes\.io\/role/],
      [['--cloud-provider=aws'], /--cloud-provider aws: cloud providers are external/],
      [['--bootstrap-kubeconfig=/x'], /--bootstrap-kubeconfig: needs --kubeconfig too/],
    ];
    await Promise.all(
      cases.map(async ([argv, message]) => {
        const { status, stderr } = await kubelet(...argv);
        assert.match(stderr, message);
        assert.equal(stderr.trim().split('\n').length, 1, stderr);
        assert.ok(status === 2 || status === 1, `${argv}: ${status}`);
      }),
    );
  });

  test('a kubeconfig that is not there is an error that names it', async () => {
    const config = await file('none.yaml', { makeIPTablesUtilChains: false });
    const { status, stderr } = await kubelet(
      '--config',
      config,
      '--kubeconfig',
      '/nowhere/k.conf',
      '--root-dir',
      join(directory, 'none'),
    );
    assert.equal(status, 1);
    assert.match(stderr, /cannot read kubeconfig \/nowhere\/k\.conf/);
  });

  test('logging.format json writes one object a line, and flags that do nothing are told', async () => {
    const daemon = await standalone('json', 0, { logging: { format: 'json' } }, '--housekeeping-interval=10s', '--v=4');
    const lines = await pollUntil(
      'a warning about the runtime',
      async () => {
        const all = daemon
          .said()
          .trim()
          .split('\n')
          .filter((line) => line.startsWith('{'));
        return all.some((line) => line.includes('does not answer')) && all.map((line) => JSON.parse(line));
      },
      { timeoutMs: 30_000, intervalMs: 100, clock: systemClock },
    );
    for (const line of lines) assert.ok(line.ts > 0 && line.msg && line.logger === 'kubelet', JSON.stringify(line));
    assert.match(daemon.said(), /a flag does nothing.*--housekeeping-interval/);
    await daemon.end();
  });

  test('two kubelets with one --lock-file do not run at once; one that is to leave for another does', async () => {
    const lock = join(directory, 'lock');
    const first = await standalone('first', 0, {}, '--lock-file', lock, '--exit-on-lock-contention');
    const said = (daemon: typeof first, text: RegExp) =>
      pollUntil(String(text), () => text.test(daemon.said()), { timeoutMs: 30_000, intervalMs: 100 });
    await said(first, /does not answer/);
    const second = await standalone('second', 0, {}, '--lock-file', lock);
    await said(first, /another one asks for the lock/);
    await said(second, /does not answer/);
    assert.notEqual(first.child.exitCode, null);
    await second.end();
  });
});

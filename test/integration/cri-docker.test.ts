/** What becomes of pods in a Docker Engine when the adapter or the engine is away, or others have a hand in it. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ContainerState, PodSandboxState } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import type { GrpcError } from '../../src/wire/grpc/index.ts';
import { busybox, type Container, Cri } from '../conformance/cri/cri.ts';
import { CriDocker } from '../support/cri-docker.ts';
import { criRegistries } from '../support/cri-images.ts';
import { CriRegistry } from '../support/cri-registry.ts';
import { DockerEngine, dockerMissing } from '../support/docker-engine.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';
import { processesWith } from '../support/test-runtime.ts';

describe('cri-docker', { skip: dockerMissing }, () => {
  const stack = new AsyncDisposableStack();
  let engine: DockerEngine;
  let adapter: CriDocker;
  let cri: Cri;

  before(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dh-cridockertest-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const namespace = stack.use(await NetworkNamespace.create('crid'));
    const registry = stack.use(await CriRegistry.start(namespace));
    const insecure = [...criRegistries, registry.host];
    engine = stack.use(await DockerEngine.start(namespace, { proxy: `http://${registry.host}`, insecure }));
    adapter = stack.use(await CriDocker.start(namespace, engine));
    cri = stack.use(new Cri(adapter.endpoint, directory, new Set()));
    await cri.pull();
  });
  after(() => stack.disposeAsync());

  const until = <T>(what: string, look: () => Promise<T>): Promise<NonNullable<T>> =>
    pollUntil(what, async () => (await look()) || undefined, { timeoutMs: 30_000, intervalMs: 100 }) as never;
  const numbers = async (container: Container): Promise<number[]> =>
    (await readFile(container.logPath, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => Number(line.split(' ')[3]));

  test('kill -9 of the adapter: containers go on, their logs miss nothing, and what ended meanwhile is told truly', async () => {
    await using pod = await cri.pod();
    const counter = await pod.run({ command: ['sh', '-c', 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done'] });
    const ends = await pod.run({ command: ['sh', '-c', 'echo going; sleep 2; echo gone; exit 7'] });
    await counter.logged('20');
    await adapter.kill();
    await until('the end of the other', async () =>
      (await engine.docker('inspect', '--format', '{{.State.Running}}', ends.id)).stdout.startsWith('false'),
    );
    await adapter.begin();
    const status = await ends.status();
    assert.deepEqual([status.state, status.exitCode], [ContainerState.CONTAINER_EXITED, 7]);
    assert.equal(await ends.wholeOutput(), 'going\ngone\n');
    assert.equal((await counter.status()).state, ContainerState.CONTAINER_RUNNING);
    const first = (await numbers(counter)).length;
    const all = await until('more lines', async () => {
      const found = await numbers(counter);
      return found.length > first + 20 ? found : undefined;
    });
    assert.ok(
      all.every((value, at) => value === at),
      'a line is missing, or there twice',
    );
  });

  test('a command over its time is gone with all that it has started, also in sessions of their own', async () => {
    await using pod = await cri.pod();
    const container = await pod.run();
    const mark = `${process.pid}77`;
    const script = `setsid sleep ${mark} & sleep ${mark}`;
    const call = cri.runtime.execSync({ containerId: container.id, cmd: ['sh', '-c', script], timeout: 1n });
    await assert.rejects(
      call,
      (error: GrpcError) => error.code === 'DEADLINE_EXCEEDED' && /timed out/.test(error.message),
    );
    await until('their end', async () => processesWith(`sleep ${mark}`).length === 0);
    assert.equal((await container.status()).state, ContainerState.CONTAINER_RUNNING);
  });

  test('what others remove is noticed, and what others have is left alone', async () => {
    await using pod = await cri.pod();
    const [one, two] = [await pod.run(), await pod.run()];
    const foreign = await engine.docker(
      'run',
      '--detach',
      '--network',
      'none',
      '--name',
      'foreign',
      busybox,
      'sleep',
      '1000',
    );
    assert.equal(foreign.status, 0, foreign.stderr);
    await engine.docker('kill', one.id);
    await until('its end', async () => (await one.status()).state === ContainerState.CONTAINER_EXITED);
    await adapter.kill();
    await engine.docker('rm', '--force', two.id);
    await adapter.begin();
    const { containers } = await cri.runtime.listContainers({ filter: { podSandboxId: pod.id } });
    assert.deepEqual(
      containers.map(({ id }) => id),
      [one.id],
    );
    const running = await engine.docker('inspect', '--format', '{{.State.Running}}', 'foreign');
    assert.match(running.stdout, /^true/);
    await engine.docker('rm', '--force', 'foreign');
  });

  test('the engine goes and comes back: calls say so meanwhile, pods have ended, and new ones run', async () => {
    await using pod = await cri.pod();
    const container = await pod.run({ command: ['sh', '-c', 'trap "exit 3" TERM; while :; do sleep 0.1; done'] });
    await engine.end();
    await assert.rejects(
      cri.pod(),
      (error: GrpcError) => error.code === 'UNAVAILABLE' && /Docker Engine/.test(error.message),
    );
    const ready = async () =>
      (await cri.runtime.status({})).status!.conditions.find(({ type }) => type === 'RuntimeReady')!;
    const { status, reason } = await ready();
    assert.deepEqual([status, reason], [false, 'DockerDaemonNotReady']);
    await engine.begin();
    await until('the engine to be seen', async () => (await ready()).status);
    await until('the end of the pod', async () => (await pod.status()).state === PodSandboxState.SANDBOX_NOTREADY);
    await until(
      'the end of its container',
      async () => (await container.status()).state === ContainerState.CONTAINER_EXITED,
    );
    await using again = await cri.pod();
    assert.equal((await again.script('echo works')).output, 'works\n');
  });
});

/** What a machine does to a runtime: reboots, full disks, processes that cannot be killed, programs that hang or die. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { output, run } from '../support/processes.ts';
import { RuntimeUnderTest } from '../support/runtime-under-test.ts';

let runtime: RuntimeUnderTest;
let pods = 0;

/** An OCI runtime that hangs in a command while a file says so. */
const hangingRuntime = (flags: string): string => `#!/bin/sh
for word; do
  [ -e "${flags}/$word" ] && exec sleep 3600
done
exec runc "$@"
`;

before(async () => {
  runtime = await RuntimeUnderTest.create('hardships', {
    settings: { ociTimeoutMs: 2000 },
    prepare: async (settings, base) => {
      await mkdir(join(base, 'flags'));
      const path = join(base, 'hangs');
      await writeFile(path, hangingRuntime(join(base, 'flags')));
      await chmod(path, 0o755);
      settings.runtimes = [
        { name: 'runc', path: '/usr/sbin/runc' },
        { name: 'hangs', path },
      ];
    },
  });
});

after(() => runtime?.[Symbol.asyncDispose]());

interface Pod {
  config: ReturnType<typeof podConfig>;
  podSandboxId: string;
}

const podConfig = (pid: NamespaceMode) => ({
  metadata: { name: `pod${++pods}`, namespace: 'default', uid: `uid${pods}`, attempt: 0 },
  hostname: 'pod',
  logDirectory: join(runtime.base, 'logs'),
  linux: { securityContext: { namespaceOptions: { pid } } },
});

async function runPod(pid = NamespaceMode.CONTAINER, runtimeHandler = '', on = runtime): Promise<Pod> {
  const config = podConfig(pid);
  const { podSandboxId } = await on.cri.runPodSandbox({ config, runtimeHandler });
  return { config, podSandboxId };
}

async function createIn({ config, podSandboxId }: Pod, command: string[], more: object = {}, on = runtime) {
  const { containerId } = await on.cri.createContainer({
    podSandboxId,
    config: {
      metadata: { name: 'main', attempt: 0 },
      image: { image: 'busybox' },
      command,
      logPath: `${config.metadata.name}.log`,
      linux: { securityContext: { namespaceOptions: config.linux.securityContext.namespaceOptions } },
      ...more,
    },
    sandboxConfig: config,
  });
  return containerId;
}

async function startIn(pod: Pod, command: string[], more: object = {}, on = runtime): Promise<string> {
  const containerId = await createIn(pod, command, more, on);
  await on.cri.startContainer({ containerId });
  return containerId;
}

const status = async (containerId: string, on = runtime) => (await on.cri.containerStatus({ containerId })).status!;
const remove = ({ podSandboxId }: Pod, on = runtime) => on.cri.removePodSandbox({ podSandboxId });
const forever = ['sleep', '100000'];

// They wait most of the time.
describe('hardships', { concurrency: 4 }, () => {
  test('a process that cannot be killed: the stop says so in time, other pods go on, and it is taken down when it has ended', {
    skip: existsSync('/dev/fuse') ? false : 'the kernel has no FUSE',
  }, async () => {
    const directory = join(runtime.base, 'hung');
    await mkdir(directory);
    const entry = join(import.meta.dirname, '../support/hung-mount-process.ts');
    const argv = ['--disable-warning=ExperimentalWarning', entry, directory];
    const server = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(server.stdout, 'data');
      const pod = await runPod();
      const mounts = [{ containerPath: '/mnt', hostPath: directory }];
      const containerId = await startIn(pod, ['cat', '/mnt/file'], { mounts });
      const [process = 0] = await pollUntil(
        'a look-up without an answer',
        () => runtime.processes().flatMap(({ pid, command }) => (command === 'cat /mnt/file' ? [pid] : [])),
        { timeoutMs: 10_000 },
      );
      const started = performance.now();
      const stop = runtime.cri.stopContainer({ containerId, timeout: 1n }, { timeoutMs: 60_000 });
      const refused = assert.rejects(stop, { code: 'DEADLINE_EXCEEDED', message: /does not die of SIGKILL/ });
      const other = await runPod();
      assert.equal((await status(await startIn(other, forever))).state, ContainerState.CONTAINER_RUNNING);
      await remove(other);
      await pollUntil('D state', () => stateOf(process) === 'D', { timeoutMs: 10_000 });
      await refused;
      // Its second, ten more, and what a loaded machine adds.
      assert.ok(performance.now() - started < 20_000);
      assert.equal((await status(containerId)).state, ContainerState.CONTAINER_RUNNING);
      server.kill('SIGKILL');
      await runtime.cri.stopContainer({ containerId, timeout: 1n });
      assert.equal((await status(containerId)).exitCode, 137);
      await remove(pod);
    } finally {
      server.kill('SIGKILL');
      await run(['umount', '--lazy', directory]);
    }
  });

  const stateOf = (pid: number) => /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];

  test('a fork bomb within its limit of processes, deaf to SIGTERM, is ended entirely', async () => {
    const pod = await runPod(NamespaceMode.POD);
    const limits = readdirSync('/sys/fs/cgroup').includes('pids') ? '/sys/fs/cgroup/pids' : '/sys/fs/cgroup';
    const cgroup = join(limits, runtime.cgroupParent, pod.podSandboxId);
    writeFileSync(join(cgroup, 'pids.max'), '60');
    const bomb = "trap '' TERM; bomb() { while :; do bomb & sleep 0.02; done; }; bomb 2>/dev/null & exec sleep 100000";
    const containerId = await startIn(pod, ['sh', '-c', bomb]);
    const current = () => Number(readFileSync(join(cgroup, 'pids.current'), 'utf8'));
    await pollUntil('processes up to the limit', () => current() > 50, { timeoutMs: 20_000, intervalMs: 10 });
    await runtime.cri.stopContainer({ containerId, timeout: 1n });
    assert.deepEqual([(await status(containerId)).exitCode, current()], [137, 1]);
    await remove(pod);
  });

  test('a container that is frozen is ended', async () => {
    const pod = await runPod();
    const containerId = await startIn(pod, forever);
    const cgroup = join(runtime.cgroupParent, pod.podSandboxId, containerId);
    const frozen = existsSync('/sys/fs/cgroup/freezer')
      ? [`/sys/fs/cgroup/freezer${cgroup}/freezer.state`, 'FROZEN']
      : [`/sys/fs/cgroup${cgroup}/cgroup.freeze`, '1'];
    writeFileSync(frozen[0]!, frozen[1]!);
    await runtime.cri.stopContainer({ containerId, timeout: 0n });
    assert.equal((await status(containerId)).exitCode, 137);
    await remove(pod);
  });

  test('conmon is killed: the container runs on, can be stopped, and its exit code is said to be lost', async () => {
    const pod = await runPod();
    const [stopped, ending] = await Promise.all([
      startIn(pod, forever),
      startIn(pod, ['sh', '-c', 'while [ ! -e /over ]; do sleep 0.05; done; exit 3'], {
        metadata: { name: 'ending', attempt: 0 },
      }),
    ]);
    for (const id of [stopped, ending]) {
      const conmon = Number(readFileSync(join(runtime.state, 'containers', id, 'conmon.pid'), 'utf8'));
      process.kill(conmon, 'SIGKILL');
    }
    assert.equal((await status(stopped)).state, ContainerState.CONTAINER_RUNNING);
    const { stdout } = await runtime.cri.execSync({ containerId: stopped, cmd: ['echo', 'alive'], timeout: 10n });
    assert.equal(Buffer.from(stdout).toString(), 'alive\n');
    await runtime.cri.stopContainer({ containerId: stopped, timeout: 1n });
    await runtime.cri.execSync({ containerId: ending, cmd: ['sh', '-c', ': > /over'], timeout: 10n });
    const ended = () => status(ending).then((one) => one.state === ContainerState.CONTAINER_EXITED);
    // Soon, though nobody reports it and nobody waits for it: the slow look at everything comes every 5 s.
    await pollUntil('the end of the other', ended, { timeoutMs: 3000, intervalMs: 20 });
    for (const id of [stopped, ending]) {
      const { state, exitCode, reason, message } = await status(id);
      assert.deepEqual([state, exitCode, reason], [ContainerState.CONTAINER_EXITED, 255, 'Unknown']);
      assert.match(message, /exit code is lost/);
    }
    await remove(pod);
  });

  test('an OCI runtime that hangs in a call is killed with what it has begun; names do not stick', async () => {
    const flag = (word: string) => join(runtime.base, 'flags', word);
    const pod = await runPod(NamespaceMode.CONTAINER, 'hangs');
    for (const word of ['create', 'start']) {
      const containerId = await createIn(pod, forever);
      await writeFile(flag(word), '');
      await assert.rejects(
        runtime.cri.startContainer({ containerId }),
        /did not (create the container|end) within 2 s/,
      );
      await rm(flag(word));
      const { state, reason } = await status(containerId);
      assert.deepEqual([state, reason], [ContainerState.CONTAINER_EXITED, 'StartError']);
      const left = runtime.processes().filter(({ command }) => command.includes(containerId));
      assert.deepEqual(left, []);
      await runtime.cri.removeContainer({ containerId });
    }
    // The same name again.
    const containerId = await startIn(pod, forever);
    await runtime.cri.execSync({ containerId, cmd: ['true'], timeout: 10n });
    await writeFile(flag('exec'), '');
    const hung = runtime.cri.execSync({ containerId, cmd: ['true'], timeout: 1n });
    await assert.rejects(hung, { code: 'DEADLINE_EXCEEDED' });
    await rm(flag('exec'));
    assert.deepEqual(
      runtime.processes().filter(({ command }) => /sleep 3600/.test(command)),
      [],
    );
    await runtime.cri.execSync({ containerId, cmd: ['true'], timeout: 10n });
    await remove(pod);
  });

  test('a reboot: what ran is reported as ended, what was made is gone, images are there, everything can be removed', async () => {
    await using own = await RuntimeUnderTest.create('reboot');
    const pod = await runPod(NamespaceMode.POD, '', own);
    const running = await startIn(pod, forever, {}, own);
    const ended = await startIn(pod, ['sh', '-c', 'exit 4'], { metadata: { name: 'ended', attempt: 0 } }, own);
    const isOver = () => status(ended, own).then((one) => one.state === ContainerState.CONTAINER_EXITED);
    await pollUntil('the end of the container', isOver, { timeoutMs: 10_000 });
    const created = await createIn(pod, forever, { metadata: { name: 'created', attempt: 0 } }, own);
    await own.reboot();
    assert.ok(await own.start());
    const { state, network } = (await own.cri.podSandboxStatus({ podSandboxId: pod.podSandboxId })).status!;
    assert.deepEqual([state, network?.ip ?? ''], [PodSandboxState.SANDBOX_NOTREADY, '']);
    const now = await status(running, own);
    assert.deepEqual([now.state, now.exitCode, now.reason], [ContainerState.CONTAINER_EXITED, 255, 'Unknown']);
    assert.equal((await status(ended, own)).exitCode, 4);
    await assert.rejects(status(created, own), { code: 'NOT_FOUND' });
    await remove(pod, own);
    const again = await runPod(NamespaceMode.POD, '', own);
    assert.equal((await status(await startIn(again, forever, {}, own), own)).state, ContainerState.CONTAINER_RUNNING);
    await remove(again, own);
    assert.deepEqual([own.mounts(), own.processes()], [[], []]);
  });

  test('a full disk: new pods are refused clearly and leave nothing, what runs can be reached, stopped and removed', async () => {
    await using own = await RuntimeUnderTest.create('full', { rootBytes: 24 << 20 });
    const pod = await runPod(NamespaceMode.CONTAINER, '', own);
    const polite = "trap 'exit 7' TERM; while :; do sleep 0.02; done";
    const stopped = await startIn(pod, ['sh', '-c', polite], {}, own);
    const restarted = await startIn(pod, forever, { metadata: { name: 'restarted', attempt: 0 } }, own);
    const before = await own.inventory();
    const filler = join(own.root, 'filler');
    assert.notEqual((await run(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=64k'])).status, 0);
    await assert.rejects(runPod(NamespaceMode.CONTAINER, '', own), /no space left on device/);
    await assert.rejects(
      createIn(pod, forever, { metadata: { name: 'new', attempt: 0 } }, own),
      /no space left on device/,
    );
    const { stdout } = await own.cri.execSync({ containerId: stopped, cmd: ['echo', 'alive'], timeout: 10n });
    assert.equal(Buffer.from(stdout).toString(), 'alive\n');
    await own.cri.stopContainer({ containerId: stopped, timeout: 10n });
    assert.equal((await status(stopped, own)).exitCode, 7);
    // Its end could perhaps not be written down; the next run must know it all the same.
    await own.end();
    assert.ok(await own.start());
    assert.deepEqual(
      [(await status(stopped, own)).exitCode, (await status(restarted, own)).state],
      [7, ContainerState.CONTAINER_RUNNING],
    );
    const news = (await own.inventory()).filter(
      (line) => !before.includes(line) && line !== filler && !/ \d+ /.test(line),
    );
    assert.deepEqual(
      news.filter((line) => /snapshots|sandboxes|containers/.test(line) && !line.includes(stopped)),
      [],
    );
    await remove(pod, own);
    assert.deepEqual((await own.cri.listContainers({})).containers, []);
    await rm(filler);
    const again = await runPod(NamespaceMode.CONTAINER, '', own);
    await startIn(again, forever, {}, own);
    await remove(again, own);
    assert.deepEqual(await output(['find', join(own.root, 'snapshots'), '-mindepth', '1']), '');
  });
});

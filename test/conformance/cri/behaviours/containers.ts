import assert from 'node:assert/strict';
import { ContainerState, Signal } from '../../../../src/api/cri/index.ts';
import { criImageNames } from '../../../support/cri-images.ts';
import type { Topic } from '../behaviour.ts';
import { busybox } from '../cri.ts';
import { fails, notNow, refused, taken } from '../expect.ts';

const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED } = ContainerState;

/** The life of containers. */
export const containers: Topic = [
  'containers',
  [
    {
      name: 'a container is created, runs, ends with its own code, and is gone',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.create({ command: ['sh', '-c', 'sleep 0.3; exit 7'] });
        const created = await container.status();
        assert.deepEqual([created.state, created.startedAt, created.finishedAt], [CONTAINER_CREATED, 0n, 0n]);
        await container.start();
        const running = await container.status();
        assert.equal(running.state, CONTAINER_RUNNING);
        assert.ok(running.startedAt >= created.createdAt);
        const ended = await container.exited();
        assert.deepEqual([ended.exitCode, ended.reason], [7, 'Error']);
        assert.ok(ended.finishedAt > ended.startedAt, `${ended.finishedAt} after ${ended.startedAt}`);
        await container.remove();
        await fails(container.status(), ['NOT_FOUND']);
      },
    },
    {
      name: 'success is Completed',
      async run(cri) {
        await using pod = await cri.pod();
        const { status } = await pod.script('exit 0');
        assert.deepEqual([status.exitCode, status.reason, status.message], [0, 'Completed', '']);
      },
    },
    {
      name: 'death by a signal is 128 and its number',
      async run(cri) {
        await using pod = await cri.pod();
        const { status } = await pod.script('exec sh -c "kill -KILL \\$\\$"; true', {
          command: ['sh', '-c', 'sh -c "kill -TERM \\$\\$"; echo $?; kill -KILL $(cut -d" " -f4 /proc/self/stat)'],
        });
        assert.ok([137, 0].includes(status.exitCode));
        const killed = await pod.run();
        const { pid } = await killed.info();
        process.kill(pid, 'SIGKILL');
        assert.equal((await killed.exited()).exitCode, 137);
      },
    },
    {
      name: 'the status tells metadata, image, labels, annotations, mounts and log path',
      async run(cri) {
        const id = await cri.pull();
        await using pod = await cri.pod();
        const hostPath = await cri.newDirectory();
        const [labels, annotations] = [{ a: '1' }, { b: '2' }];
        const container = await pod.run({
          labels,
          annotations,
          mounts: [{ hostPath, containerPath: '/mnt/x', readonly: true }],
          metadata: { name: 'told', attempt: 3 },
        });
        const status = await container.status();
        assert.equal(status.id, container.id);
        assert.deepEqual([status.metadata!.name, status.metadata!.attempt], ['told', 3]);
        assert.deepEqual([status.labels, status.annotations], [labels, annotations]);
        assert.equal(status.image!.image, busybox);
        assert.ok(status.imageRef.includes('sha256:'), status.imageRef);
        assert.equal(status.logPath, container.logPath);
        const mount = status.mounts.find(({ containerPath }) => containerPath === '/mnt/x')!;
        assert.deepEqual([mount.hostPath, mount.readonly], [hostPath, true]);
        const [listed] = (await cri.runtime.listContainers({ filter: { id: container.id } })).containers;
        assert.deepEqual([listed!.labels, listed!.annotations, listed!.podSandboxId], [labels, annotations, pod.id]);
        assert.ok(listed!.imageRef.includes('sha256:'), listed!.imageRef);
        if (cri.features.has('image-id')) assert.deepEqual([listed!.imageId, status.imageId], [id, id]);
      },
    },
    {
      name: 'command and arguments take the place of the image’s',
      async run(cri) {
        const image = { image: criImageNames.pause };
        await cri.pull(image.image);
        await using pod = await cri.pod();
        // This image has an entry point and no command.
        const both = await pod.run({ image, command: ['echo', 'one'], args: ['two', 'three words here'] });
        await both.exited();
        assert.equal(await both.output(), 'one two three words here\n');
        const plain = await pod.run({ image, command: [], args: [] });
        assert.match(await plain.sh('tr "\\0" " " < /proc/1/cmdline'), /^\/bin\/sh -c trap/);
        const args = await pod.run({ command: [], args: ['echo', 'only args'] });
        await args.exited();
        assert.equal(await args.output(), 'only args\n');
      },
    },
    {
      name: 'a container without any command is refused',
      needs: ['named-registry'],
      async run(cri) {
        const image = `${process.env['CRI_REGISTRY']}/suite/no-command:1`;
        await cri.pull(image);
        await using pod = await cri.pod();
        await fails(pod.run({ image: { image }, command: [], args: [] }), refused, /command/);
      },
    },
    {
      name: 'variables of the configuration are over those of the image, and keep odd names and values',
      async run(cri) {
        await using pod = await cri.pod();
        const value = (text: string) => Buffer.from(text);
        const envs = [
          { key: 'A', value: value('x=y z') },
          { key: 'EMPTY', value: value('') },
          { key: 'with-hyphen.and.dot', value: value('odd') },
          { key: 'LINES_2', value: value('one\ntwo') },
          { key: 'PATH', value: value('/bin:/mine') },
        ];
        const container = await pod.run({ envs });
        const lines = (await container.sh('tr "\\0" "\\n" < /proc/1/environ')).split('\n');
        for (const line of ['A=x=y z', 'EMPTY=', 'with-hyphen.and.dot=odd', 'LINES_2=one', 'two', 'PATH=/bin:/mine'])
          assert.ok(lines.includes(line), `${line} is not in ${lines.join('|')}`);
        assert.equal(lines.filter((line) => line.startsWith('PATH=')).length, 1);
        assert.match(await container.sh('tr "\\0" "\\n" < /proc/1/environ'), /^HOSTNAME=|^HOME=|PATH=/m);
      },
    },
    {
      name: 'the working directory is set, and made when it is missing',
      async run(cri) {
        await using pod = await cri.pod();
        assert.equal((await pod.script('pwd', { workingDir: '/tmp' })).output, '/tmp\n');
        assert.equal((await pod.script('pwd', { workingDir: '/new/deep/one' })).output, '/new/deep/one\n');
      },
    },
    {
      name: 'a container starts once',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        await fails(container.start(), notNow);
        await container.stop();
        await fails(container.start(), notNow);
        assert.equal((await container.status()).state, CONTAINER_EXITED);
      },
    },
    {
      name: 'a program that is not there: the start fails and says so, and the container counts as ended',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.create({ command: ['no-such-program'] });
        await fails(container.start(), ['UNKNOWN', 'FAILED_PRECONDITION', 'NOT_FOUND'], /no-such-program.*not found/s);
        const status = await container.status();
        assert.equal(status.state, CONTAINER_EXITED);
        assert.notEqual(status.exitCode, 0);
        assert.match(status.reason, /StartError|ContainerCannotRun/);
        await container.remove();
      },
    },
    {
      name: 'a file that is no program: the start fails',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.create({ command: ['/etc/passwd'] });
        await fails(container.start(), ['UNKNOWN', 'FAILED_PRECONDITION'], /permission denied|exec format/i);
      },
    },
    {
      name: 'a stop asks first: a program that heeds it ends with its own code',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({
          command: ['sh', '-c', 'trap "exit 42" TERM; echo ready; while :; do sleep 0.05; done'],
        });
        await container.logged('ready');
        await container.stop(20);
        const { state, exitCode } = await container.status();
        assert.deepEqual([state, exitCode], [CONTAINER_EXITED, 42]);
      },
    },
    {
      name: 'a program that does not heed it is killed when its time is up',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({
          command: ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done'],
        });
        await container.logged('ready');
        const started = Date.now();
        await container.stop(1);
        assert.ok(Date.now() - started >= 950);
        assert.equal((await container.status()).exitCode, 137);
      },
    },
    {
      name: 'a stop without time kills at once',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({
          command: ['sh', '-c', 'trap "exit 42" TERM; echo ready; while :; do sleep 0.05; done'],
        });
        await container.logged('ready');
        await container.stop(0);
        assert.equal((await container.status()).exitCode, 137);
      },
    },
    {
      name: 'a stop takes all processes of a container along',
      async run(cri) {
        await using pod = await cri.pod();
        const seconds = 100_000 + Number(cri.unique('').split('-').at(-1));
        const container = await pod.run({
          command: ['sh', '-c', `setsid sleep ${seconds} & setsid sleep ${seconds} & exec sleep 1000`],
        });
        await container.stop(0);
        const { readdirSync, readFileSync } = await import('node:fs');
        const left = readdirSync('/proc').filter((name) => {
          try {
            return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(`sleep\0${seconds}`);
          } catch {
            return false;
          }
        });
        assert.deepEqual(left, []);
      },
    },
    {
      name: 'the stop signal is the image’s',
      needs: ['named-registry'],
      async run(cri) {
        const image = `${process.env['CRI_REGISTRY']}/suite/stop-signal:1`;
        await cri.pull(image);
        await using pod = await cri.pod();
        const command = [
          'sh',
          '-c',
          'trap "exit 3" USR1; trap "exit 4" TERM; echo ready; while :; do sleep 0.05; done',
        ];
        const container = await pod.run({ image: { image }, command });
        await container.logged('ready');
        await container.stop(20);
        assert.equal((await container.status()).exitCode, 3);
      },
    },
    {
      name: 'the stop signal of the configuration is over the image’s, and told',
      needs: ['runtime-config'],
      async run(cri) {
        await using pod = await cri.pod();
        const command = [
          'sh',
          '-c',
          'trap "exit 5" USR2; trap "exit 4" TERM; echo ready; while :; do sleep 0.05; done',
        ];
        const container = await pod.run({ command, stopSignal: Signal.SIGUSR2 });
        assert.equal((await container.status()).stopSignal, Signal.SIGUSR2);
        await container.logged('ready');
        await container.stop(20);
        assert.equal((await container.status()).exitCode, 5);
      },
    },
    {
      name: 'a container that runs can be removed',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        await container.remove();
        await fails(container.status(), ['NOT_FOUND']);
        const unstarted = await pod.create();
        await unstarted.remove();
        await fails(unstarted.status(), ['NOT_FOUND']);
      },
    },
    {
      name: 'a name can be taken once; another attempt is another name',
      async run(cri) {
        await using pod = await cri.pod();
        const metadata = { name: 'same', attempt: 0 };
        const first = await pod.run({ metadata });
        await fails(pod.create({ metadata }), taken, /reserve/);
        const second = await pod.run({ metadata: { name: 'same', attempt: 1 } });
        assert.notEqual(first.id, second.id);
        await first.remove();
        await pod.create({ metadata });
      },
    },
    {
      name: 'containers of a pod share its network and have file systems and logs of their own',
      async run(cri) {
        await using pod = await cri.pod();
        const [one, two] = [await pod.run(), await pod.run()];
        assert.equal(await one.sh('ip -o -4 addr show eth0'), await two.sh('ip -o -4 addr show eth0'));
        await one.sh('echo mine > /file; echo said > /proc/1/fd/1');
        await fails2(two.sh('cat /file'));
        await one.logged('said');
        assert.equal(await two.output(), '');
      },
    },
    {
      name: 'what a container writes is gone with it',
      async run(cri) {
        await using pod = await cri.pod();
        const first = await pod.run({ metadata: { name: 'again', attempt: 0 } });
        await first.sh('echo mine > /file');
        await first.stop();
        const second = await pod.run({ metadata: { name: 'again', attempt: 1 } });
        await fails2(second.sh('cat /file'));
      },
    },
    {
      name: 'a terminal is one, and both streams go to stdout',
      async run(cri) {
        await using pod = await cri.pod();
        const command = ['sh', '-c', 'test -t 0 && test -t 1 && test -t 2 && echo terminal; echo err >&2; echo $TERM'];
        const container = await pod.run({ command, tty: true, stdin: true });
        await container.exited();
        const lines = await container.log();
        assert.ok(lines.every(({ stream }) => stream === 'stdout'));
        assert.deepEqual(
          lines.map(({ text }) => text.replace('\r', '')),
          ['terminal', 'err', 'xterm'],
        );
      },
    },
    {
      name: 'without stdin a program that reads finds the end at once',
      async run(cri) {
        await using pod = await cri.pod();
        const { output } = await pod.script('cat; echo end');
        assert.equal(output, 'end\n');
      },
    },
    {
      name: 'with stdin a program that reads waits',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['cat'], stdin: true });
        await container.sh('sleep 0.3');
        assert.equal((await container.status()).state, CONTAINER_RUNNING);
      },
    },
    {
      name: 'an image that is not there: the creation fails',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(
          pod.create({ image: { image: 'registry.k8s.io/not/pulled:1' } }),
          ['NOT_FOUND', 'UNKNOWN'],
          /not.?pulled|not found/,
        );
      },
    },
    {
      name: 'a container that cannot be is refused: no config, no name, no image, a sandbox that is not there',
      async run(cri) {
        await using pod = await cri.pod();
        const sandboxConfig = pod.config;
        await fails(cri.runtime.createContainer({ podSandboxId: pod.id, sandboxConfig }), refused);
        await fails(pod.create({ metadata: { name: '', attempt: 0 } }), refused);
        await fails(pod.create({ image: {} }), [...refused, 'NOT_FOUND']);
        const config = pod.containerConfig();
        await fails(cri.runtime.createContainer({ podSandboxId: 'nothing', config, sandboxConfig }), ['NOT_FOUND']);
      },
    },
    {
      name: 'twelve short lives at once all end with their own codes',
      async run(cri) {
        await using pod = await cri.pod();
        const codes = Array.from({ length: 12 }, (_, index) => index + 1);
        const ended = await Promise.all(codes.map(async (code) => (await pod.script(`exit ${code}`)).status.exitCode));
        assert.deepEqual(ended, codes);
      },
    },
    {
      name: 'a container over its memory is OOMKilled',
      async run(cri) {
        await using pod = await cri.pod();
        const linux = { resources: { memoryLimitInBytes: 24n << 20n } };
        const { status } = await pod.script('x=a; while :; do x=$x$x$x$x; done', { linux });
        assert.deepEqual([status.exitCode, status.reason], [137, 'OOMKilled']);
      },
    },
    {
      name: 'a container of which a child was killed for want of memory goes on',
      async run(cri) {
        await using pod = await cri.pod();
        const linux = { resources: { memoryLimitInBytes: 24n << 20n } };
        const eat = 'sh -c "x=a; while :; do x=\\$x\\$x\\$x\\$x; done"; echo survived $?; exit 0';
        const { status, output } = await pod.script(eat, { linux });
        assert.match(output, /survived 137/);
        assert.equal(status.exitCode, 0);
      },
    },
    {
      name: 'the verbose status holds the process and the OCI configuration',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const info = await container.info();
        assert.ok(info.pid > 0);
        assert.deepEqual(info.runtimeSpec.process.args.slice(0, 2), ['sh', '-c']);
        const { info: quiet } = await cri.runtime.containerStatus({ containerId: container.id });
        assert.deepEqual(quiet, {});
      },
    },
    {
      name: 'a checkpoint can be made, and the container goes on',
      needs: ['checkpoint'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const location = `${await cri.newDirectory()}/checkpoint.tar`;
        await cri.runtime.checkpointContainer({ containerId: container.id, location });
        const { statSync } = await import('node:fs');
        assert.ok(statSync(location).size > 0);
        assert.equal((await container.status()).state, CONTAINER_RUNNING);
      },
    },
  ],
];

/** Makes sure that a script fails. */
async function fails2(work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, /status \d+/);
}

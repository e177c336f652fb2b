import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { NamespaceMode } from '../../../../src/api/cri/index.ts';
import type { Topic } from '../behaviour.ts';
import { fails, notNow, refused } from '../expect.ts';
import { attach, exec, forward } from '../streams.ts';

/** Whether a process with words in its command line runs anywhere. */
export function isRunning(words: string): boolean {
  return readdirSync('/proc').some((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').includes(words);
    } catch {
      return false;
    }
  });
}

/** Commands in containers, and streams to them. */
export const execution: Topic = [
  'exec',
  [
    {
      name: 'both streams and the code come back, each on its own',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        assert.deepEqual(await container.exec('sh', '-c', 'echo out; echo err >&2; exit 3'), {
          stdout: 'out\n',
          stderr: 'err\n',
          code: 3,
        });
      },
    },
    {
      name: 'bytes come back as they are',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const { stdout } = await cri.runtime.execSync({
          containerId: container.id,
          cmd: ['printf', '\\000\\377\\n\\r'],
          timeout: 10n,
        });
        assert.deepEqual([...stdout], [0, 255, 10, 13]);
      },
    },
    {
      name: 'two megabytes of output arrive whole',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const { stdout } = await container.exec('sh', '-c', 'seq 1 300000');
        const lines = stdout.trim().split('\n');
        assert.deepEqual([lines.length, lines.at(-1)], [300_000, '300000']);
      },
    },
    {
      name: 'a command that takes too long is an error, and is gone with its children',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const mark = `${cri.unique('7')}`.replaceAll(/\D/g, '');
        const cmd = ['sh', '-c', `sleep ${mark}1 & sleep ${mark}2`];
        const call = cri.runtime.execSync({ containerId: container.id, cmd, timeout: 1n }, { timeoutMs: 4000 });
        await fails(call, ['DEADLINE_EXCEEDED', 'UNKNOWN'], /timed? ?out|exceeded/i);
        const { pollUntil } = await import('../../../../src/async/index.ts');
        await pollUntil('the end of the processes', () => !isRunning(`sleep ${mark}`), {
          timeoutMs: 3000,
          intervalMs: 50,
        });
        assert.equal(await container.sh('echo well'), 'well');
      },
    },
    {
      name: 'a caller who leaves takes the command along',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const mark = `${cri.unique('8')}`.replaceAll(/\D/g, '');
        const call = cri.runtime.execSync({ containerId: container.id, cmd: ['sleep', mark] }, { timeoutMs: 800 });
        await fails(call, ['DEADLINE_EXCEEDED']);
        const { pollUntil } = await import('../../../../src/async/index.ts');
        await pollUntil('the end of the process', () => !isRunning(`sleep ${mark}`), {
          timeoutMs: 5000,
          intervalMs: 50,
        });
      },
    },
    {
      name: 'a command has user, groups, variables and directory of the container',
      async run(cri) {
        await using pod = await cri.pod();
        const securityContext = {
          runAsUser: { value: 1234n },
          runAsGroup: { value: 2345n },
          supplementalGroups: [3456n],
        };
        const envs = [{ key: 'A', value: Buffer.from('b c') }];
        const container = await pod.run({ workingDir: '/tmp', envs, linux: { securityContext } });
        const [user, group, groups, directory, a] = (await container.sh('id -u; id -g; id -G; pwd; echo "$A"')).split(
          '\n',
        );
        assert.deepEqual([user, group, directory, a], ['1234', '2345', '/tmp', 'b c']);
        assert.deepEqual(groups!.split(' ').sort(), ['2345', '3456']);
      },
    },
    {
      name: 'a program that is not there is an error that says so',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const call = cri.runtime.execSync({ containerId: container.id, cmd: ['nothing-here'], timeout: 10n });
        await fails(call, ['UNKNOWN', 'INTERNAL', 'NOT_FOUND'], /nothing-here.*not found/s);
      },
    },
    {
      name: 'nothing can be run in a container that does not run, or without a command',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.create();
        const run = (cmd: string[]) => cri.runtime.execSync({ containerId: container.id, cmd, timeout: 10n });
        await fails(run(['true']), notNow);
        await container.start();
        await fails(run([]), refused);
        await container.stop();
        await fails(run(['true']), notNow);
        await fails(cri.runtime.execSync({ containerId: 'nothing', cmd: ['true'] }), ['NOT_FOUND']);
      },
    },
    {
      name: 'twenty commands at once',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const results = await Promise.all(Array.from({ length: 20 }, (_, index) => container.sh(`echo ${index}`)));
        assert.deepEqual(
          results,
          Array.from({ length: 20 }, (_, index) => String(index)),
        );
      },
    },
    {
      name: 'a command ends with its container',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const mark = `${cri.unique('9')}`.replaceAll(/\D/g, '');
        const call = cri.runtime.execSync({ containerId: container.id, cmd: ['sleep', mark], timeout: 30n }).then(
          ({ exitCode }) => exitCode,
          () => 'error' as const,
        );
        const { pollUntil } = await import('../../../../src/async/index.ts');
        await pollUntil('the command', () => isRunning(`sleep ${mark}`), { timeoutMs: 5000, intervalMs: 20 });
        await container.stop(0);
        assert.ok([137, 'error'].includes(await call));
        assert.ok(!isRunning(`sleep ${mark}`));
      },
    },
    {
      name: 'streamed: output, errors and code, over SPDY',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const result = await exec(container, ['sh', '-c', 'echo out; echo err >&2; exit 5']);
        assert.deepEqual(result, { stdout: 'out\n', stderr: 'err\n', status: { code: 5 } });
        assert.deepEqual((await exec(container, ['true'])).status, { code: 0 });
      },
    },
    {
      name: 'streamed: what is typed arrives, and its end too',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const input = 'a line\n'.repeat(20_000);
        const { stdout } = await exec(container, ['sh', '-c', 'cat; echo end'], { input });
        assert.equal(stdout, `${input}end\n`);
      },
    },
    {
      name: 'streamed: a terminal, with its size',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const script = 'test -t 0 && echo terminal; sleep 0.5; stty size';
        const { stdout } = await exec(container, ['sh', '-c', script], { tty: true, size: { width: 123, height: 45 } });
        // runc doubles the first return where a program writes before it has set both terminals up.
        assert.match(stdout, /^terminal\r+\n45 123\r+\n$/);
      },
    },
    {
      name: 'streamed: attach sees what is written from now on, and types',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['sh'], stdin: true, stdinOnce: true });
        const { stdout } = await attach(container, { input: 'echo hello; exit\n' });
        assert.equal(stdout, 'hello\n');
        assert.equal((await container.exited()).exitCode, 0);
      },
    },
    {
      name: 'streamed: two attached clients see the same',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['sh', '-c', 'sleep 1; echo once; sleep 0.3'] });
        const both = await Promise.all([attach(container), attach(container)]);
        assert.deepEqual(
          both.map(({ stdout }) => stdout),
          ['once\n', 'once\n'],
        );
      },
    },
    {
      name: 'streamed: a port of the pod',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({
          command: ['sh', '-c', 'mkdir /w; echo page > /w/index.html; httpd -p 127.0.0.1:8080 -h /w; exec sleep 1000'],
        });
        await container.sh('while ! nc -w 1 127.0.0.1 8080 </dev/null; do sleep 0.05; done');
        const answer = await forward(pod, 8080, 'GET / HTTP/1.0\r\n\r\n');
        assert.match(answer, /200 OK[\s\S]*page\n$/);
      },
    },
    {
      name: 'streamed: a port of a pod in the network of the host',
      async run(cri) {
        const namespaceOptions = { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER };
        await using pod = await cri.pod({ linux: { securityContext: { namespaceOptions } } });
        const command = [
          'sh',
          '-c',
          'mkdir /w; echo host > /w/index.html; httpd -p 127.0.0.1:12003 -h /w; exec sleep 1000',
        ];
        const container = await pod.run({ command });
        await container.sh('while ! nc -w 1 127.0.0.1 12003 </dev/null; do sleep 0.05; done');
        assert.match(await forward(pod, 12_003, 'GET / HTTP/1.0\r\n\r\n'), /200 OK[\s\S]*host\n$/);
      },
    },
    {
      name: 'streamed: a port on which nobody listens is an error that says so',
      async run(cri) {
        await using pod = await cri.pod();
        await pod.run();
        await assert.rejects(forward(pod, 8099, 'x'), /8099|refused/);
      },
    },
    {
      name: 'streamed: attach to a terminal',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({
          command: ['sh', '-c', 'read line; echo "got $line"'],
          tty: true,
          stdin: true,
        });
        const { stdout } = await attach(container, { input: 'words\n', tty: true, keepOpen: true });
        assert.match(stdout, /got words\r\n/);
      },
    },
    {
      name: 'streamed: a request that cannot be is refused',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const { id: containerId } = container;
        const { runtime } = cri;
        await fails(runtime.exec({ containerId, cmd: ['true'] }), refused);
        await fails(runtime.exec({ containerId, cmd: ['true'], tty: true, stdout: true, stderr: true }), refused);
        await fails(runtime.attach({ containerId }), refused);
        await fails(runtime.exec({ containerId: 'nothing', cmd: ['true'], stdout: true }), ['NOT_FOUND']);
        await fails(runtime.attach({ containerId: 'nothing', stdout: true }), ['NOT_FOUND']);
        await fails(runtime.portForward({ podSandboxId: 'nothing', port: [80] }), ['NOT_FOUND']);
        await container.stop();
        await fails(runtime.exec({ containerId, cmd: ['true'], stdout: true }), notNow);
        await fails(runtime.attach({ containerId, stdout: true }), notNow);
      },
    },
    {
      name: 'streamed: an address works once',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const { url } = await cri.runtime.exec({
          containerId: container.id,
          cmd: ['echo', 'x'],
          stdout: true,
          stderr: true,
        });
        assert.equal((await exec(container, [], { url })).stdout, 'x\n');
        await assert.rejects(exec(container, [], { url }));
      },
    },
  ],
];

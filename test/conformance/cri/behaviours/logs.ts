import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { pollUntil } from '../../../../src/async/index.ts';
import type { Topic } from '../behaviour.ts';
import { textOf } from '../cri.ts';
import { fails, notNow } from '../expect.ts';

/** The last bytes of a file. */
function endOf(path: string): string {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(64);
    const { size } = fstatSync(file);
    return bytes.subarray(0, readSync(file, bytes, 0, 64, Math.max(0, size - 64))).toString('latin1');
  } finally {
    closeSync(file);
  }
}

/** The logs of containers: the format that the kubelet reads, and their rotation. */
export const logs: Topic = [
  'logs',
  [
    {
      name: 'each line has its time, its stream and its tag',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({
          command: ['sh', '-c', 'echo one; sleep 0.1; echo two >&2; sleep 0.1; echo; echo " three "'],
        });
        await container.exited();
        const lines = await container.log();
        assert.deepEqual(
          lines.map(({ stream, tag, text }) => [stream, tag, text]),
          [
            ['stdout', 'F', 'one'],
            ['stderr', 'F', 'two'],
            ['stdout', 'F', ''],
            ['stdout', 'F', ' three '],
          ],
        );
        for (const { time } of lines) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}(Z|[+-]\d\d:\d\d)$/);
        const times = lines.map(({ time }) => Date.parse(time.replace(/(\.\d{3})\d+/, '$1')));
        assert.ok(times.every((time, index) => index === 0 || time >= times[index - 1]!));
        assert.ok(Math.abs(times[0]! - Date.now()) < 60_000);
      },
    },
    {
      name: 'a long line comes in parts that make the whole',
      async run(cri) {
        await using pod = await cri.pod();
        const { output } = await pod.script('head -c 100000 /dev/zero | tr "\\0" x; echo; echo next');
        assert.equal(output, `${'x'.repeat(100_000)}\nnext\n`);
      },
    },
    {
      name: 'the parts of a long line are tagged P, and the last F',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['sh', '-c', 'head -c 50000 /dev/zero | tr "\\0" y; echo'] });
        await container.exited();
        const tags = (await container.log()).map(({ tag }) => tag);
        assert.ok(tags.length > 1 && tags.slice(0, -1).every((tag) => tag === 'P'), tags.join());
        assert.equal(tags.at(-1), 'F');
      },
    },
    {
      name: 'what has no end of line is there',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['printf', 'no end'] });
        await container.exited();
        assert.match(await container.output(), /^no end\n?$/);
      },
    },
    {
      name: 'both streams are whole and in order, each for itself',
      async run(cri) {
        await using pod = await cri.pod();
        const script = 'i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done';
        const container = await pod.run({ command: ['sh', '-c', script] });
        await container.exited();
        const expected = (word: string) => Array.from({ length: 500 }, (_, index) => `${word} ${index}\n`).join('');
        assert.equal(await container.output('stdout'), expected('out'));
        assert.equal(await container.output('stderr'), expected('err'));
      },
    },
    {
      name: 'a megabyte as fast as it comes is whole',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['seq', '1', '200000'] });
        // Only the end is read until it is there: the whole would keep a slow machine busy.
        const isWhole = () => endOf(container.logPath).endsWith(' 200000\n');
        await pollUntil('the last line', isWhole, { timeoutMs: 25_000, intervalMs: 100 });
        const lines = (await container.output()).trim().split('\n');
        assert.equal(lines.length, 200_000);
        assert.ok(lines.every((line, index) => Number(line) === index + 1));
      },
    },
    {
      name: 'after a rotation, writing goes on in a new file',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['sh', '-c', 'while :; do echo tick; sleep 0.05; done'] });
        await container.logged('tick');
        await rename(container.logPath, `${container.logPath}.old`);
        await cri.runtime.reopenContainerLog({ containerId: container.id });
        await container.logged('tick');
      },
    },
    {
      name: 'rotations under load lose no line and double none',
      async run(cri) {
        await using pod = await cri.pod();
        const script = 'i=0; while ! test -e /stop; do echo line $i; i=$((i+1)); done; echo end $i';
        const container = await pod.run({ command: ['sh', '-c', script] });
        const files: string[] = [];
        for (let count = 0; count < 6; count++) {
          await container.logged('line');
          const old = `${container.logPath}.${count}`;
          await rename(container.logPath, old);
          files.push(old);
          await cri.runtime.reopenContainerLog({ containerId: container.id });
        }
        // The command may be ended by the end of the container that it brings about.
        await container.exec('touch', '/stop');
        await container.logged('end ');
        const parts = await Promise.all([...files, container.logPath].map((path) => container.log(path)));
        const lines = textOf(parts.flat()).trim().split('\n');
        const last = Number(lines.pop()!.slice(4));
        assert.ok(last > 500, `${last} lines`);
        const numbers = lines.map((line) => Number(line.slice(5)));
        const wrong = numbers.findIndex((number, index) => number !== index);
        assert.deepEqual(
          [numbers.length, wrong],
          [last, -1],
          `at ${wrong}: ${lines.slice(Math.max(0, wrong - 1), wrong + 2)}`,
        );
      },
    },
    {
      name: 'the log of a container that does not run cannot be opened anew',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['true'] });
        await container.exited();
        await fails(cri.runtime.reopenContainerLog({ containerId: container.id }), notNow, /running/);
        await fails(cri.runtime.reopenContainerLog({ containerId: 'nothing' }), ['NOT_FOUND']);
      },
    },
    {
      name: 'a container may have no log',
      async run(cri) {
        await using pod = await cri.pod({ logDirectory: '' });
        const container = await pod.run({ command: ['sh', '-c', 'seq 1 100000; exit 4'], logPath: '' });
        assert.equal((await container.exited()).exitCode, 4);
        assert.equal((await container.status()).logPath, '');
      },
    },
    {
      name: 'the log stays when the container is gone',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['echo', 'kept'] });
        await container.exited();
        await container.remove();
        await pollUntil('the log', async () => (await container.output()) === 'kept\n', { timeoutMs: 2000 });
      },
    },
  ],
];

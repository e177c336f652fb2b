import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Probe } from '../../api/index.ts';
import { FakeClock } from '../../async/index.ts';
import { createHttpServer } from '../../wire/http/index.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { ProbeOutcome } from './probe-outcome.ts';
import { type ProbeKind, type ProbeVerdict, ProbeWorker } from './probe-worker.ts';
import { runProbe } from './run-probe.ts';

const good: ProbeOutcome = { kind: 'success' };
const bad: ProbeOutcome = { kind: 'failure', output: 'no' };

/** A worker on a clock of its own, whose probe answers what `answer` says; notes when it looked and what it found. */
function work(
  kind: ProbeKind,
  probe: Partial<Probe>,
  answer: (look: number) => ProbeOutcome,
  initial: ProbeVerdict = 'pending',
) {
  const clock = new FakeClock();
  const looks: number[] = [];
  const verdicts: [number, ProbeVerdict][] = [];
  const told: string[] = [];
  const worker = new ProbeWorker({
    kind,
    probe: { httpGet: { port: 80 }, periodSeconds: 10, ...probe },
    startedAt: 0,
    initial,
    clock,
    run: async () => {
      looks.push(clock.now());
      return answer(looks.length);
    },
    active: () => true,
    onVerdict: (verdict) => verdicts.push([clock.now(), verdict]),
    onOutcome: ({ kind: how }) => told.push(how),
  });
  return { clock, looks, verdicts, told, worker };
}

describe('ProbeWorker', () => {
  it('looks at once, and then at every period', async () => {
    const { clock, looks, verdicts, worker } = work('readiness', {}, () => good);
    await clock.advance(20_500);
    worker.stop();
    assert.deepEqual([looks, verdicts], [[0, 10_000, 20_000], [[0, 'success']]]);
  });

  it('looks again quickly until the first success, which the failures of those looks do not delay', async () => {
    const { clock, looks, verdicts, told, worker } = work('readiness', {}, (look) => (look < 4 ? bad : good));
    await clock.advance(5000);
    worker.stop();
    assert.deepEqual(looks, [0, 100, 300, 700]);
    assert.deepEqual(verdicts, [[700, 'success']]);
    assert.deepEqual(told, ['failure', 'success'], 'only looks that count are told');
  });

  it('waits the initial delay', async () => {
    const { clock, looks, worker } = work('readiness', { initialDelaySeconds: 3 }, () => good);
    await clock.advance(4000);
    worker.stop();
    assert.deepEqual(looks, [3000]);
  });

  it('fails a liveness probe after so many failures in a row, never by quick looks', async () => {
    const { clock, looks, verdicts, worker } = work('liveness', { failureThreshold: 3 }, (look) =>
      look === 2 ? good : bad,
    );
    await clock.advance(40_500);
    worker.stop();
    assert.deepEqual(looks, [0, 10_000, 20_000, 30_000, 40_000]);
    assert.deepEqual(verdicts, [
      [10_000, 'success'],
      [40_000, 'failure'],
    ]);
  });

  it('ends a startup probe with its verdict', async () => {
    const failing = work('startup', { periodSeconds: 1, failureThreshold: 2 }, () => bad);
    await failing.clock.advance(10_000);
    assert.deepEqual(failing.verdicts, [[1000, 'failure']]);
    const passing = work('startup', { periodSeconds: 1 }, () => good);
    await passing.clock.advance(10_000);
    assert.deepEqual(passing.looks, [0]);
  });

  it('tries a probe that cannot be made three times, and learns nothing from it', async () => {
    const { clock, looks, verdicts, told, worker } = work('liveness', { failureThreshold: 1 }, () => ({
      kind: 'error',
      output: 'x',
    }));
    await clock.advance(1000);
    worker.stop();
    assert.deepEqual([looks.length, verdicts, told], [3, [], ['error']]);
  });

  it('keeps what was known before a restart until it knows better', async () => {
    const { clock, verdicts, worker } = work('readiness', { failureThreshold: 1 }, () => bad, 'success');
    assert.equal(worker.verdict, 'success');
    await clock.advance(10_000);
    worker.stop();
    assert.equal(verdicts[0]?.[1], 'failure');
  });
});

describe('runProbe over HTTP', () => {
  it('judges statuses and redirects, and fails in time', async () => {
    const server = createHttpServer({
      handler: (request, response) => {
        const path = request.url ?? '';
        if (path === '/silent') return;
        if (path === '/here') return void response.writeHead(302, { location: '/ok' }).end();
        if (path === '/away') return void response.writeHead(302, { location: 'http://192.0.2.1/' }).end();
        if (path === '/loop') return void response.writeHead(302, { location: '/loop' }).end();
        response.writeHead(path === '/ok' ? 200 : 500, { agent: String(request.headers['user-agent']) }).end('text');
      },
    });
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    const target = {
      client: {} as RuntimeClient,
      containerId: 'x',
      container: { name: 'main', ports: [{ name: 'web', containerPort: port }] },
      podIp: '127.0.0.1',
    };
    const get = (path: string, at: number | string = port) =>
      runProbe({ httpGet: { path, port: at }, timeoutSeconds: 1 }, target);
    try {
      assert.equal((await get('/ok')).kind, 'success');
      assert.equal((await get('/ok', 'web')).kind, 'success');
      assert.equal((await get('/here')).kind, 'success');
      assert.match(String(((await get('/away')) as { warning?: string }).warning), /terminated redirects/);
      assert.match(String(((await get('/loop')) as { output?: string }).output), /stopped after 10 redirects/);
      assert.deepEqual(await get('/bad'), { kind: 'failure', output: 'HTTP probe failed with statuscode: 500' });
      assert.match(String(((await get('/silent')) as { output?: string }).output), /deadline exceeded/);
      assert.equal((await get('/ok', 'nope')).kind, 'error');
      assert.equal((await runProbe({ tcpSocket: { port } }, target)).kind, 'success');
    } finally {
      await server.close();
    }
    assert.match(String(((await get('/ok')) as { output?: string }).output), /connection refused/);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, pollUntil } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { createHttpServer } from '../../wire/http/index.ts';
import { UrlSource } from './url-source.ts';

const manifest = (name: string) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { containers: [{ name: 'c', image: 'i:1' }] },
  });

describe('UrlSource', () => {
  it('asks with its headers, and keeps the pods of the last good answer', async () => {
    let answer = { status: 200, text: manifest('a') };
    const asked: (string | undefined)[] = [];
    const server = createHttpServer({
      handler: (request, response) => {
        asked.push(request.headers['x-who'] as string);
        response.writeHead(answer.status).end(answer.text);
      },
    });
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    const clock = new FakeClock();
    const problems: string[] = [];
    const told: string[] = [];
    const source = new UrlSource({
      ...{ url: `http://127.0.0.1:${port}/pods`, headers: { 'x-who': ['me'] }, nodeName: 'n', intervalMs: 1000 },
      clock,
      log: createLogger('test', (_level, _component, _message, fields) =>
        problems.push(String(fields['problem'] ?? '')),
      ),
      onPods: (pods) => told.push(pods.map(({ metadata }) => `${metadata.name}`).join()),
    });
    const next = async (status: number, text: string) => {
      answer = { status, text };
      const before = asked.length;
      await clock.advance(1000);
      await pollUntil('another request', () => asked.length > before, { timeoutMs: 5000 });
    };
    try {
      await source.start();
      assert.deepEqual(told, ['a-n']);
      await next(200, manifest('a'));
      await next(500, 'broken');
      await pollUntil('the problem', () => problems.includes('it answers with status 500'), { timeoutMs: 5000 });
      await next(200, '');
      await pollUntil('the problem', () => problems.includes('it answers with nothing'), { timeoutMs: 5000 });
      const list = { apiVersion: 'v1', kind: 'PodList', items: [JSON.parse(manifest('a')), JSON.parse(manifest('b'))] };
      await next(200, JSON.stringify(list));
      await pollUntil('both pods', () => told.length === 2, { timeoutMs: 5000 });
      assert.deepEqual(told, ['a-n', 'a-n,b-n']);
      assert.deepEqual(new Set(asked), new Set(['me']));
    } finally {
      source.stop();
      await server.close();
    }
  });
});

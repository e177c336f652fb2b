import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { createHttpServer, HttpClient } from '../http/index.ts';
import { tunnelUpgrade } from './tunnel-upgrade.ts';
import { acceptUpgrade, refuseUpgrade } from './upgrade-response.ts';

test('an upgrade passes through with its protocols, its bytes, its end, and its refusal', async () => {
  const seen: (string | string[] | undefined)[] = [];
  const inner = createHttpServer({
    handler: (_request, response) => void response.writeHead(404).end('nothing'),
    upgrade: (request, socket, head) => {
      seen.push(request.headers['x-stream-protocol-version'], request.headers.authorization, request.url);
      if (request.url === '/no') return refuseUpgrade(socket, 403, 'not you');
      acceptUpgrade(socket, 'SPDY/3.1', { 'X-Stream-Protocol-Version': 'v4' });
      socket.write(`early ${head.toString()}`);
      socket.on('data', (chunk: Buffer) => socket.write(chunk.toString().toUpperCase()));
      socket.on('end', () => socket.end('bye'));
    },
  });
  const target = new HttpClient({
    baseUrl: `http://127.0.0.1:${(await inner.listen({ host: '127.0.0.1', port: 0 })).port}`,
  });
  const outer = createHttpServer({
    handler: (_request, response) => void response.end(),
    upgrade: (request, socket, head) =>
      void tunnelUpgrade(request, socket, head, { client: target, path: request.url!.replace('/outer', '') }),
  });
  const { port } = await outer.listen({ host: '127.0.0.1', port: 0 });
  const client = new HttpClient({ baseUrl: `http://127.0.0.1:${port}` });
  try {
    const headers = {
      connection: 'Upgrade',
      upgrade: 'SPDY/3.1',
      authorization: 'Bearer secret',
      'x-stream-protocol-version': ['v4', 'v3'],
    };
    const answer = await client.upgrade({ method: 'POST', path: '/outer/exec?command=a', headers });
    assert.ok('socket' in answer);
    assert.equal(answer.headers['x-stream-protocol-version'], 'v4');
    assert.deepEqual(seen, ['v4, v3', undefined, '/exec?command=a']);
    let text = answer.head.toString();
    answer.socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    answer.socket.write('hello');
    answer.socket.end();
    await once(answer.socket, 'end');
    assert.equal(text, 'early HELLObye');

    const refused = await client.upgrade({ path: '/outer/no', headers });
    assert.ok('refused' in refused);
    assert.equal(refused.refused.statusCode, 403);
    const chunks: Buffer[] = [];
    for await (const chunk of refused.refused) chunks.push(chunk as Buffer);
    assert.equal(Buffer.concat(chunks).toString(), 'not you');

    await inner.close();
    const gone = await client.upgrade({ path: '/outer/x', headers });
    assert.ok('refused' in gone);
    assert.equal(gone.refused.statusCode, 502);
  } finally {
    client.close();
    target.close();
    await outer.close();
    await inner.close();
  }
});

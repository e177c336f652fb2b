import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../async/index.ts';
import { createCertificateAuthority, issueCertificate } from '../certificates/index.ts';
import { clientCertificateOf, createHttpServer, HttpClient, type HttpError, type ListenError } from './index.ts';

test('requests and bodies go over a unix socket; a handler that throws is a 500', async () => {
  const socketPath = join(tmpdir(), `deckhand-http-${process.pid}.sock`);
  const failures: unknown[] = [];
  const server = createHttpServer({
    handler: async (request, response) => {
      if (request.url === '/throw') throw new Error('broken');
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      response.end(`${request.method} ${request.url} ${Buffer.concat(chunks)}`);
    },
    onError: (error) => failures.push(error),
  });
  await server.listen({ socketPath });
  const client = new HttpClient({ socketPath });
  try {
    const answer = await client.request({ method: 'PUT', path: '/a?b=c', body: 'hällo' });
    assert.equal(answer.body.toString(), 'PUT /a?b=c hällo');
    assert.equal((await client.request({ path: '/throw' })).status, 500);
    assert.equal(failures.length, 1);
  } finally {
    client.close();
    await server.close();
  }
  await assert.rejects(client.request({ path: '/' }), (error: HttpError) => error.code === 'ENOENT');
});

test('a timeout is for the whole exchange, also when bytes keep coming; a stream is bound until its header only', async () => {
  const server = createHttpServer({
    handler: async (request, response) => {
      if (request.url === '/silent') return;
      for (let i = 0; i < 30 && !response.destroyed; i++) {
        response.write('.');
        await systemClock.sleep(10);
      }
      response.end();
    },
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const client = new HttpClient({ baseUrl: `http://127.0.0.1:${port}` });
  try {
    for (const path of ['/silent', '/dots'])
      await assert.rejects(client.request({ path, timeoutMs: 100 }), (error: HttpError) => error.code === 'ETIMEDOUT');
    const stream = await client.stream({ path: '/dots', timeoutMs: 100 });
    let length = 0;
    for await (const chunk of stream) length += (chunk as Buffer).length;
    assert.equal(length, 30);
    const abort = new AbortController();
    const pending = client.request({ path: '/silent', signal: abort.signal });
    abort.abort(new Error('never mind'));
    await assert.rejects(pending, /never mind/);
  } finally {
    client.close();
    await server.close();
  }
});

test('a kept connection that the server has reset is replaced for a GET, not for a POST', async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    let requests = 0;
    socket.on('error', () => {});
    socket.on('data', () => {
      requests++;
      if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      else socket.resetAndDestroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const client = new HttpClient({ baseUrl: `http://127.0.0.1:${port}` });
  try {
    for (let i = 0; i < 3; i++) assert.equal((await client.request({ path: '/' })).status, 200);
    assert.equal(connections, 3);
    await assert.rejects(client.request({ method: 'POST', path: '/', body: 'x' }), { code: 'ECONNRESET' });
  } finally {
    client.close();
    server.close();
  }
});

test('clients are known by certificates of the authority, and by no others; a taken port is said in one sentence', async () => {
  const now = systemClock.now();
  const [authority, stranger] = [
    await createCertificateAuthority('one', now),
    await createCertificateAuthority('two', now),
  ];
  const serving = await issueCertificate(
    authority,
    { commonName: 'server', usages: ['server'], ipAddresses: ['127.0.0.1'] },
    now,
  );
  const server = createHttpServer({
    tls: { ...serving, clientCa: authority.cert },
    handler: (request, response) => void response.end(JSON.stringify(clientCertificateOf(request) ?? null)),
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const baseUrl = `https://127.0.0.1:${port}`;
  const ask = async (keys: { cert?: string; key?: string }, ca = authority.cert): Promise<unknown> => {
    const client = new HttpClient({ baseUrl, ca, ...keys });
    try {
      return JSON.parse((await client.request({ path: '/' })).body.toString());
    } finally {
      client.close();
    }
  };
  const request = { commonName: 'me', organizations: ['system:masters'], usages: ['client' as const] };
  try {
    assert.deepEqual(await ask(await issueCertificate(authority, request, now)), {
      commonName: 'me',
      organizations: ['system:masters'],
    });
    assert.equal(await ask(await issueCertificate(stranger, request, now)), null);
    assert.equal(await ask({}), null);
    await assert.rejects(ask({}, stranger.cert));
    const second = createHttpServer({ handler: () => {} });
    await assert.rejects(second.listen({ host: '127.0.0.1', port }), (error: ListenError) =>
      /already in use/.test(error.message),
    );
  } finally {
    await server.close();
  }
});

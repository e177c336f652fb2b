import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import type { ExecRequest } from '../../api/cri/index.ts';
import { FakeClock } from '../../async/index.ts';
import { createCertificateAuthority, issueCertificate } from '../../wire/certificates/index.ts';
import { HttpClient } from '../../wire/http/index.ts';
import { openRemoteCommand, serveRemoteCommand } from '../../wire/streams/index.ts';
import { StreamingServer, type StreamingServerOptions, type StreamRequest } from './streaming-server.ts';

const request: StreamRequest = { kind: 'exec', request: { containerId: 'x', cmd: ['true'] } as unknown as ExecRequest };
const streams = { stdin: true, stdout: true, stderr: false, tty: false };

/** A server whose commands are over when their input is. */
async function serve(more: Partial<StreamingServerOptions> = {}) {
  const clock = new FakeClock();
  const errors: unknown[] = [];
  const serving = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  const server = new StreamingServer({
    clock,
    onError: (error) => errors.push(error),
    handler: async (_, { request: http, socket, head }) => {
      const remote = await serveRemoteCommand(http, socket, head, { ...streams, clock });
      if (!remote) return;
      remote.signal.addEventListener('abort', () => aborted.resolve());
      serving.resolve();
      remote.stdout!.write(await text(remote.stdin!));
      await remote.exit({ code: 3 });
    },
    ...more,
  });
  await server.listen('127.0.0.1', 0);
  return { server, clock, errors, serving: serving.promise, aborted: aborted.promise };
}

test('an address works once, for its kind, and for a minute', async () => {
  const { server, clock } = await serve();
  const client = new HttpClient({});
  const url = server.url(request);
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/exec\/[\w-]{16}$/);
  assert.equal((await client.request({ path: url })).status, 400);
  assert.equal((await client.request({ path: url.replace('/exec/', '/other/') })).status, 404);
  await assert.rejects(
    openRemoteCommand({ client, path: url.replace('/exec/', '/attach/') }, streams),
    /no such address/,
  );
  await assert.rejects(openRemoteCommand({ client, path: url }, streams), /no such address/);
  const good = await openRemoteCommand({ client, path: server.url(request) }, streams);
  good.stdin!.end('hello');
  assert.deepEqual([await text(good.stdout!), await good.status], ['hello', { code: 3 }]);
  const old = server.url(request);
  await clock.advance(60_001);
  await assert.rejects(openRemoteCommand({ client, path: old }, streams), /no such address/);
  client.close();
  await server.close();
});

test('with a certificate the server speaks TLS, in both dialects', async () => {
  const authority = await createCertificateAuthority('test', Date.now());
  const names = { commonName: 'streams', ipAddresses: ['127.0.0.1'], usages: ['server' as const] };
  const { cert, key } = await issueCertificate(authority, names, Date.now());
  const { server } = await serve({ tls: { cert: Buffer.from(cert), key: Buffer.from(key) } });
  const url = server.url(request);
  assert.match(url, /^https:/);
  const client = new HttpClient({ ca: authority.cert });
  const remote = await openRemoteCommand({ client, path: url }, streams);
  remote.stdin!.end('secret');
  assert.equal(await text(remote.stdout!), 'secret');
  const socket = new WebSocket(server.url(request).replace('https:', 'wss:'), ['v5.channel.k8s.io'], {
    ca: authority.cert,
  });
  await once(socket, 'open');
  socket.send(Buffer.from([255, 0]));
  await once(socket, 'close');
  client.close();
  await server.close();
});

test('a handler that throws costs its connection only; closing ends connections and waits for what served them', async () => {
  const failing = await serve({
    handler: () => {
      throw new Error('a fault');
    },
  });
  const client = new HttpClient({});
  await assert.rejects(openRemoteCommand({ client, path: failing.server.url(request) }, streams));
  assert.match(String(failing.errors[0]), /a fault/);
  await failing.server.close();
  const { server, serving, aborted } = await serve();
  const remote = await openRemoteCommand({ client, path: server.url(request) }, streams);
  await serving;
  await server.close();
  await aborted;
  assert.match(JSON.stringify(await remote.status), /closed/);
  client.close();
});

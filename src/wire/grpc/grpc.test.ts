import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ImageService, RuntimeService } from '../../api/cri/index.ts';
import { createGrpcClient, GrpcError, type GrpcServer, grpcService, serveGrpc } from './index.ts';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-grpc-'));
});
after(() => rm(directory, { recursive: true }));

const service = grpcService(RuntimeService, {
  version: async ({ version }) => ({ version, runtimeName: 'test', runtimeVersion: '1', runtimeApiVersion: 'v1' }),
  stopContainer: async () => {
    throw new GrpcError('NOT_FOUND', 'container abc not found');
  },
  execSync: (_request, { signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  async *getContainerEvents() {
    yield { containerId: 'one' };
    yield { containerId: 'two' };
  },
});

async function serve(name: string): Promise<{ path: string; server: GrpcServer }> {
  const path = join(directory, name);
  return { path, server: await serveGrpc(`unix://${path}`, [service]) };
}

test('calls, errors, deadlines and streams cross a unix socket', async () => {
  const { path, server } = await serve('a.sock');
  const client = createGrpcClient(RuntimeService, `unix://${path}`);
  assert.equal((await client.version({ version: 'v1' })).runtimeName, 'test');
  await assert.rejects(
    client.stopContainer({ containerId: 'abc' }),
    (error: GrpcError) => error.code === 'NOT_FOUND' && error.message === 'container abc not found',
  );
  await assert.rejects(client.removeContainer({}), (error: GrpcError) => error.code === 'UNIMPLEMENTED');
  await assert.rejects(
    client.execSync({}, { timeoutMs: 20 }),
    (error: GrpcError) => error.code === 'DEADLINE_EXCEEDED',
  );
  const controller = new AbortController();
  const call = client.execSync({}, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await assert.rejects(call, /enough/);
  const seen: string[] = [];
  for await (const event of client.getContainerEvents({})) seen.push(event.containerId);
  assert.deepEqual(seen, ['one', 'two']);
  assert.equal((await stat(path)).mode & 0o777, 0o660);
  client.close();
  await server.close();
});

test('a client finds a server that came back, and a used socket is refused', async () => {
  const { path, server } = await serve('b.sock');
  const client = createGrpcClient(RuntimeService, path);
  await client.version({});
  await assert.rejects(serveGrpc(path, []), /another process serves/);
  await server.close();
  await assert.rejects(client.version({}), (error: GrpcError) => error.code === 'UNAVAILABLE');
  const again = await serveGrpc(path, [service]);
  for (let tries = 0; ; tries++) {
    const answer = await client.version({}, { timeoutMs: 1000 }).catch((error: GrpcError) => error);
    if (!(answer instanceof GrpcError)) break;
    assert.ok(tries < 50, 'the client did not find the new server');
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  client.close();
  await again.close();
  const images = createGrpcClient(ImageService, path);
  await assert.rejects(
    images.listImages({}, { timeoutMs: 500 }),
    (error: GrpcError) => error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED',
  );
  images.close();
});

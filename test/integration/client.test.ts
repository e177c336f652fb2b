/** The client room against our own API server: REST, informers that survive restarts and expiry, events. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ConfigMap, resources } from '../../src/api/index.ts';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import {
  type ApiClient,
  createClient,
  createEventRecorder,
  createInformer,
  isAlreadyExists,
  isConflict,
  isNotFound,
  keepLease,
} from '../../src/client/index.ts';
import { startTestApiServer, type TestApiServer } from '../support/apiserver.ts';

const within = { timeoutMs: 10_000, intervalMs: 5 };
const connect = (server: TestApiServer): ApiClient => createClient({ server: server.url, ca: server.ca });
const draft = (name: string, data: Record<string, string> = {}) => ({ metadata: { name, namespace: 'default' }, data });

test('objects are created, read, changed, listed and deleted, with errors that say what is wrong', async () => {
  const server = await startTestApiServer();
  const client = connect(server);
  const made = await client.create(resources.configmaps, draft('a', { key: '1' }));
  assert.equal(made.data?.['key'], '1');
  await assert.rejects(client.create(resources.configmaps, draft('a')), isAlreadyExists);
  await assert.rejects(
    client.get(resources.configmaps, 'none', { namespace: 'default' }),
    (error: Error) => isNotFound(error) && error.message === 'configmaps "none" not found',
  );
  const updated = await client.update(resources.configmaps, { ...made, data: { key: '2' } });
  await assert.rejects(client.update(resources.configmaps, { ...made, data: { key: '3' } }), isConflict);
  await client.patch(resources.configmaps, 'a', { data: { more: 'x' } }, { namespace: 'default', type: 'merge' });
  const { items } = await client.list(resources.configmaps, { namespace: 'default' });
  assert.deepEqual(
    items.map(({ data }) => data),
    [{ key: '2', more: 'x' }],
  );
  assert.equal(items[0]!.kind, 'ConfigMap');
  await assert.rejects(client.delete(resources.configmaps, 'a', { namespace: 'default', uid: 'another' }), isConflict);
  await client.delete(resources.configmaps, 'a', { namespace: 'default', uid: updated.metadata.uid });
  client.close();
  await server.stop();
});

test('an informer follows changes, also over a restart of the server', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'dh-client-'));
  let server = await startTestApiServer({ dataDir });
  const port = Number(new URL(server.url).port);
  const client = createClient({ server: server.url, insecureSkipTlsVerify: true });
  const seen: string[] = [];
  const informer = createInformer<ConfigMap>(client, resources.configmaps, {
    namespace: 'default',
    indexes: { color: ({ data }) => [data?.['color'] ?? 'none'] },
    onChange: (key, now, before) => seen.push(`${now ? (before ? 'changed' : 'added') : 'deleted'} ${key}`),
  });
  await client.create(resources.configmaps, draft('before', { color: 'red' }));
  informer.start();
  await informer.synced;
  assert.deepEqual(seen, ['added default/before']);
  await client.create(resources.configmaps, draft('later', { color: 'red' }));
  await pollUntil('the new one', () => informer.get('default/later'), within);
  assert.equal(informer.byIndex('color', 'red').length, 2);
  await client.patch(
    resources.configmaps,
    'later',
    { data: { color: 'blue' } },
    { namespace: 'default', type: 'merge' },
  );
  await pollUntil('the change', () => informer.byIndex('color', 'blue').length === 1, within);
  await server.stop();
  server = await startTestApiServer({ dataDir, port });
  const again = createClient({ server: server.url, insecureSkipTlsVerify: true });
  await again.delete(resources.configmaps, 'before', { namespace: 'default' });
  await pollUntil('the deletion', () => informer.get('default/before') === undefined, within);
  assert.deepEqual(seen, [
    'added default/before',
    'added default/later',
    'changed default/later',
    'deleted default/before',
  ]);
  informer.stop();
  client.close();
  again.close();
  await server.stop();
  await rm(dataDir, { recursive: true });
});

test('the same event again counts up, and a lease is kept', async () => {
  const server = await startTestApiServer();
  const client = connect(server);
  const recorder = createEventRecorder(client, { component: 'test', host: 'here' });
  const about = { kind: 'Pod', name: 'web', namespace: 'default', uid: 'u' };
  for (let i = 0; i < 3; i++) recorder.event(about, 'Warning', 'BackOff', 'Back-off restarting failed container');
  recorder.event(about, 'Normal', 'Pulled', 'Successfully pulled image');
  await recorder.flush();
  const { items } = await client.list(resources.events, { namespace: 'default' });
  assert.deepEqual(items.map(({ reason, count }) => `${reason} ${count}`).sort(), ['BackOff 3', 'Pulled 1']);
  const stop = new AbortController();
  const keeping = keepLease(
    client,
    { name: 'n', namespace: 'default', holder: 'me', durationSeconds: 40, renewMs: 10, clock: systemClock },
    stop.signal,
  );
  const first = await pollUntil(
    'the lease',
    () => client.get(resources.leases, 'n', { namespace: 'default' }).catch(() => undefined),
    within,
  );
  await pollUntil(
    'its renewal',
    async () =>
      (await client.get(resources.leases, 'n', { namespace: 'default' })).spec?.renewTime !== first.spec?.renewTime,
    within,
  );
  stop.abort();
  await keeping;
  client.close();
  await server.stop();
});

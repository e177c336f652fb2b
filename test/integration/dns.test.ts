/** The name server with our API server, in one process: names follow the objects. */
import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { test } from 'node:test';
import { resources } from '../../src/api/index.ts';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import { createClient } from '../../src/client/index.ts';
import { startDns } from '../../src/controlplane/index.ts';
import { startTestApiServer, testLogger } from '../support/apiserver.ts';

test('names follow Services, slices and nodes', async (t) => {
  const server = await startTestApiServer();
  const client = createClient({ server: server.url, ca: server.ca });
  const dns = startDns(
    { client, listenAddress: '0.0.0.0', port: 0, serviceAddress: '10.96.0.10' },
    { log: testLogger(), clock: systemClock },
  );
  t.after(async () => {
    await dns.stop();
    client.close();
    await server.stop();
  });
  await dns.ready;
  const resolver = new Resolver({ timeout: 2_000, tries: 1 });
  resolver.setServers([`127.0.0.1:${dns.port()}`]);
  await assert.rejects(resolver.resolve4('web.default.svc.cluster.local'), { code: 'ENOTFOUND' });
  await client.create(resources.services, {
    metadata: { name: 'web', namespace: 'default' },
    spec: { clusterIP: '10.96.0.77', clusterIPs: ['10.96.0.77'], ports: [{ port: 80 }] },
  });
  await pollUntil(
    'the name',
    async () =>
      (await resolver.resolve4('web.default.svc.cluster.local').catch((): string[] => [])).includes('10.96.0.77'),
    { timeoutMs: 3_000 },
  );
  assert.deepEqual(await resolver.reverse('10.96.0.77'), ['web.default.svc.cluster.local']);
  await assert.rejects(resolver.resolve4('example.org'), { code: 'ESERVFAIL' });
  await client.delete(resources.services, 'web', { namespace: 'default' });
  await pollUntil(
    'no name',
    async () =>
      resolver.resolve4('web.default.svc.cluster.local').then(
        () => false,
        ({ code }) => code === 'ENOTFOUND',
      ),
    { timeoutMs: 3_000 },
  );

  await client.create(resources.namespaces, { metadata: { name: 'kube-system' }, spec: {} });
  await client.create(resources.nodes, { metadata: { name: 'n' }, spec: {} });
  const addresses = [{ type: 'InternalIP', address: '127.0.0.1' }];
  await client.patch(resources.nodes, 'n', { status: { addresses } }, { type: 'merge', subresource: 'status' });
  const slice = await pollUntil(
    'the slice',
    () =>
      client.get(resources.endpointslices, 'kube-dns-deckhand', { namespace: 'kube-system' }).catch(() => undefined),
    { timeoutMs: 8_000 },
  );
  assert.deepEqual(slice.endpoints?.[0]?.addresses, ['127.0.0.1']);
  assert.equal(slice.ports?.[0]?.port, dns.port());
  const service = await client.get(resources.services, 'kube-dns', { namespace: 'kube-system' });
  assert.equal(service.spec?.clusterIP, '10.96.0.10');
});

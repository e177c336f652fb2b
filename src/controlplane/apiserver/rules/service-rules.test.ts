import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectContext } from '../extension-points.ts';
import { MemoryRegistry } from '../memory-registry.ts';
import { createRules, ServiceAllocator } from './index.ts';

function dualStack() {
  const allocator = new ServiceAllocator({ serviceCidrs: ['10.96.0.0/24', 'fd00:96::/112'] });
  const rules = createRules(allocator)['services']!;
  const undo: (() => void | Promise<void>)[] = [];
  const context = (subresource = ''): ObjectContext => ({
    user: { username: 'u', groups: [] },
    namespace: 'default',
    dryRun: false,
    now: 0,
    subresource,
    registry: new MemoryRegistry(),
    onFailure: (one) => undo.push(one),
  });
  const create = async (spec: any): Promise<any> => {
    const service = { metadata: { namespace: 'default', name: 'web' }, spec: { ports: [{ port: 80 }], ...spec } };
    rules.setDefaults!(service);
    await rules.prepareForCreate!(service, context());
    return service;
  };
  const update = async (old: any, spec: any): Promise<any> => {
    const service = structuredClone({ ...old, spec: { ...old.spec, ...spec } });
    rules.setDefaults!(service);
    await rules.prepareForUpdate!(service, old, context());
    return service;
  };
  const check = (service: any, old?: any) =>
    rules.validate!(service, old, context()).map(({ field, message }) => `${field}: ${message}`);
  return { create, update, check, undo };
}

test('one family unless two are asked for', async () => {
  const { create } = dualStack();
  const single = await create({});
  assert.deepEqual([single.spec.ipFamilies, single.spec.clusterIPs.length], [['IPv4'], 1]);
  const both = await create({ ipFamilyPolicy: 'PreferDualStack' });
  assert.deepEqual(both.spec.ipFamilies, ['IPv4', 'IPv6']);
  assert.match(both.spec.clusterIPs[1], /^fd00:96::/);
  const six = await create({ ipFamilies: ['IPv6'] });
  assert.match(six.spec.clusterIP, /^fd00:96::/);
  const headless = await create({ clusterIP: 'None', selector: { a: 'b' } });
  assert.deepEqual(headless.spec.clusterIPs, ['None']);
});

test('what the client leaves out of an update is kept, also when ports are added', async () => {
  const { create, update, check } = dualStack();
  const old = await create({ type: 'NodePort' });
  const { nodePort } = old.spec.ports[0];
  const ports = [
    { name: 'a', port: 80 },
    { name: 'b', port: 81 },
  ];
  const now = await update(old, { ports, clusterIP: undefined, clusterIPs: undefined });
  assert.equal(now.spec.clusterIP, old.spec.clusterIP);
  assert.equal(now.spec.ports[0].nodePort, nodePort);
  assert.notEqual(now.spec.ports[1].nodePort, nodePort);
  assert.deepEqual(check(now, old), []);
});

test('another type lets go of what it has no use for', async () => {
  const { create, update, check } = dualStack();
  const old = await create({ type: 'LoadBalancer', externalTrafficPolicy: 'Local' });
  assert.ok(old.spec.healthCheckNodePort >= 30_000);
  const inner = await update(old, { type: 'ClusterIP' });
  assert.deepEqual(check(inner, old), []);
  assert.deepEqual(
    [inner.spec.ports[0].nodePort, inner.spec.healthCheckNodePort, inner.spec.externalTrafficPolicy],
    [undefined, undefined, undefined],
  );
  const name = await update(inner, { type: 'ExternalName', externalName: 'example.org' });
  assert.deepEqual(check(name, inner), []);
  assert.equal(name.spec.clusterIPs, undefined);
});

test('an address stays; another one is refused and not kept', async () => {
  const { create, update, check, undo } = dualStack();
  const old = await create({});
  undo.length = 0;
  const moved = await update(old, { clusterIP: '10.96.0.9' });
  assert.match(check(moved, old)[0]!, /^spec.clusterIPs\[0\]: Invalid value: .*may not change once set$/);
  for (const one of undo) await one();
  assert.equal((await create({ clusterIP: '10.96.0.9' })).spec.clusterIP, '10.96.0.9');
});

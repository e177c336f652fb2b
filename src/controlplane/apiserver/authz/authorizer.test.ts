import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestAttributes, UserInfo } from '../extension-points.ts';
import { MemoryRegistry } from '../memory-registry.ts';
import { ClusterAuthorizer, escalationCheck, forbidden } from './index.ts';

const group = 'rbac.authorization.k8s.io';
const user = (username: string, ...groups: string[]): UserInfo => ({ username, groups });
const ask = (who: UserInfo, verb: string, resource: string, namespace = '', name = ''): RequestAttributes => {
  const [plural = '', subresource = ''] = resource.split('/');
  return { user: who, verb, resource: { group: '', version: 'v1', plural, subresource }, namespace, name, path: '' };
};

async function cluster() {
  const registry = new MemoryRegistry();
  const authorizer = new ClusterAuthorizer();
  authorizer.follow(registry);
  const role = (kind: string, metadata: any, rules: any[]) =>
    registry.create(`${group}/${kind}`, { metadata, rules } as never);
  const bind = (kind: string, metadata: any, roleRef: any, subjects: any[]) =>
    registry.create(`${group}/${kind}`, { metadata, roleRef, subjects, kind: 'RoleBinding' } as never);
  return { registry, authorizer, role, bind };
}

test('roles speak where they are bound, for users, groups and service accounts, and no longer than that', async () => {
  const { registry, authorizer, role, bind } = await cluster();
  await role('clusterroles', { name: 'reader' }, [
    { verbs: ['get', 'list'], apiGroups: [''], resources: ['pods', 'pods/log'] },
  ]);
  const subjects = [
    { kind: 'User', name: 'ann' },
    { kind: 'ServiceAccount', name: 'robot' },
  ];
  await bind('rolebindings', { namespace: 'a', name: 'b' }, { kind: 'ClusterRole', name: 'reader' }, subjects);
  const may = (attributes: RequestAttributes) => authorizer.decide(attributes).allowed;
  assert.equal(may(ask(user('ann'), 'list', 'pods', 'a')), true);
  assert.equal(may(ask(user('ann'), 'get', 'pods/log', 'a', 'x')), true);
  assert.equal(may(ask(user('ann'), 'get', 'pods/exec', 'a', 'x')), false);
  assert.equal(may(ask(user('ann'), 'list', 'pods', 'b')), false);
  assert.equal(may(ask(user('ann'), 'list', 'pods')), false);
  assert.equal(may(ask(user('system:serviceaccount:a:robot'), 'list', 'pods', 'a')), true);
  await registry.delete(`${group}/rolebindings`, 'a', 'b');
  assert.equal(may(ask(user('ann'), 'list', 'pods', 'a')), false);
  assert.equal(may(ask(user('root', 'system:masters'), 'delete', 'nodes')), true);
  assert.equal(
    forbidden(ask(user('ann'), 'list', 'pods', 'default')).message,
    'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"',
  );
});

test('a node reads what its own pods name, and only while they are there', async () => {
  const { registry, authorizer } = await cluster();
  const node = user('system:node:n1', 'system:nodes');
  const spec = { nodeName: 'n1', containers: [{ envFrom: [{ secretRef: { name: 's' } }] }] };
  await registry.create('pods', { metadata: { namespace: 'a', name: 'p' }, spec } as never);
  assert.equal(authorizer.decide(ask(node, 'get', 'secrets', 'a', 's')).allowed, true);
  assert.equal(authorizer.decide(ask(node, 'get', 'secrets', 'a', 'other')).allowed, false);
  assert.equal(authorizer.decide(ask(node, 'list', 'secrets', 'a')).allowed, false);
  const other = user('system:node:n2', 'system:nodes');
  assert.match(authorizer.decide(ask(other, 'get', 'secrets', 'a', 's')).reason, /no relationship found/);
  await registry.delete('pods', 'a', 'p');
  assert.equal(authorizer.decide(ask(node, 'get', 'secrets', 'a', 's')).allowed, false);
});

test('nobody grants more than they have', async () => {
  const { registry, authorizer, role, bind } = await cluster();
  await role('clusterroles', { name: 'role-writer' }, [
    { verbs: ['*'], apiGroups: [''], resources: ['configmaps'] },
    { verbs: ['create'], apiGroups: [group], resources: ['roles', 'rolebindings'] },
  ]);
  await role('clusterroles', { name: 'all' }, [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }]);
  await bind('clusterrolebindings', { name: 'b' }, { kind: 'ClusterRole', name: 'role-writer' }, [
    { kind: 'User', name: 'ann' },
  ]);
  const plugin = escalationCheck(authorizer);
  const write = (plural: string, object: any) =>
    plugin.validate!({
      operation: 'CREATE',
      resource: { group, version: 'v1', plural, kind: '' },
      subresource: '',
      namespace: 'a',
      name: 'x',
      object,
      user: user('ann'),
      dryRun: false,
      options: {},
      registry,
    });
  write('roles', { rules: [{ verbs: ['get'], apiGroups: [''], resources: ['configmaps'] }] });
  assert.throws(
    () => write('roles', { rules: [{ verbs: ['get'], apiGroups: [''], resources: ['secrets'] }] }),
    /is attempting to grant RBAC permissions not currently held:\n\{APIGroups:\[""\], Resources:\["secrets"\], Verbs:\["get"\]\}/,
  );
  assert.throws(() => write('rolebindings', { roleRef: { kind: 'ClusterRole', name: 'all' } }), { code: 403 });
  assert.throws(() => write('rolebindings', { roleRef: { kind: 'ClusterRole', name: 'gone' } }), { code: 404 });
});

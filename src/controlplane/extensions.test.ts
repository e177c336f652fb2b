import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { resources } from '../api/index.ts';
import { systemClock } from '../async/index.ts';
import { type ApiClient, ApiError, createClient } from '../client/index.ts';
import { createLogger } from '../log/index.ts';
import {
  createCertificateAuthority,
  createSigningRequest,
  generateKey,
  issueCertificate,
  type KeyAndCertificate,
} from '../wire/certificates/index.ts';
import { createHttpServer, HttpClient, type HttpServer } from '../wire/http/index.ts';
import { type ApiServer, createExtensions, startApiServer } from './index.ts';

const log = createLogger('test', () => {});
const context = { log, clock: systemClock };
const now = systemClock.now();

let authority: KeyAndCertificate;
let server: ApiServer;
let kubelet: HttpServer;
let admin: ApiClient;
const asked: string[] = [];

async function clientAs(commonName: string, ...organizations: string[]): Promise<ApiClient> {
  const { cert, key } = await issueCertificate(authority, { commonName, organizations, usages: ['client'] }, now);
  return createClient({ server: server.url, ca: authority.cert, cert, key, userAgent: 'test' }, context);
}

const withToken = (token: string): ApiClient =>
  createClient({ server: server.url, ca: authority.cert, token, userAgent: 'test' }, context);

const refused = (code: number, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

/** Stands in for a node's kubelet: knows one container, and echoes what comes through an upgrade. */
function startKubelet(tls: KeyAndCertificate): HttpServer {
  return createHttpServer({
    tls: { ...tls, clientCa: authority.cert },
    handler: (request, response) => {
      asked.push(`${request.method} ${request.url}`);
      if (request.url?.startsWith('/containerLogs/default/web/c')) response.end('line\n');
      else if (request.url === '/pods') response.setHeader('x-test', 'yes').end('[]');
      else response.writeHead(400).end('container "c" in pod "web" is waiting to start: ContainerCreating');
    },
    upgrade: (request, socket) => {
      asked.push(`${request.method} ${request.url}`);
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
      socket.pipe(socket);
    },
  });
}

before(async () => {
  authority = await createCertificateAuthority('test', now);
  const addresses = { ipAddresses: ['127.0.0.1'] };
  const [serving, node, client] = await Promise.all([
    issueCertificate(authority, { commonName: 'server', usages: ['server'], ...addresses }, now),
    issueCertificate(authority, { commonName: 'node', usages: ['server'], ...addresses }, now),
    issueCertificate(
      authority,
      { commonName: 'apiserver', organizations: ['system:masters'], usages: ['client'] },
      now,
    ),
  ]);
  const extensions = createExtensions(
    {
      serviceCidrs: ['10.96.0.0/24'],
      advertise: { address: '10.1.2.3', port: 6443 },
      serviceAccountKey: await generateKey(),
      kubeletClient: { ...client, ca: authority.cert },
      clientCa: authority.cert,
    },
    context,
  );
  server = startApiServer(
    { listen: { host: '127.0.0.1', port: 0 }, memory: true, tls: { ...serving, clientCa: authority.cert }, extensions },
    context,
  );
  await server.ready;
  kubelet = startKubelet(node);
  const { port } = await kubelet.listen({ host: '127.0.0.1', port: 0 });
  admin = await clientAs('admin', 'system:masters');
  await admin.create(resources.serviceaccounts, { metadata: { name: 'default' } }, { namespace: 'default' });
  const status = {
    addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
    daemonEndpoints: { kubeletEndpoint: { Port: port } },
  };
  await admin.create(resources.nodes, { metadata: { name: 'n1' }, spec: {}, status } as never);
});

after(async () => {
  await kubelet.close();
  await server.stop();
});

const container = { name: 'c', image: 'x:1' };
const makePod = (name: string, spec: object = {}) =>
  admin.create(
    resources.pods,
    { metadata: { name }, spec: { containers: [container], ...spec } },
    { namespace: 'default' },
  );

test('a new cluster has its namespaces, its Services and where they lead', async () => {
  const names = (await admin.list(resources.namespaces)).items.map(({ metadata }) => metadata.name);
  assert.deepEqual(names.sort(), ['default', 'kube-node-lease', 'kube-public', 'kube-system']);
  const service = await admin.get(resources.services, 'kubernetes', { namespace: 'default' });
  assert.equal(service.spec?.clusterIP, '10.96.0.1');
  const slice = await admin.get(resources.endpointslices, 'kubernetes', { namespace: 'default' });
  assert.deepEqual([slice.endpoints?.[0]?.addresses, slice.ports?.[0]?.port], [['10.1.2.3'], 6443]);
  const dns = await admin.get(resources.services, 'kube-dns', { namespace: 'kube-system' });
  assert.equal(dns.spec?.clusterIP, '10.96.0.10');
});

test('a pod gets its account, a token volume, tolerations and a place in the queue', async () => {
  const pod = await makePod('plain');
  assert.equal(pod.spec?.serviceAccountName, 'default');
  const volume = pod.spec?.volumes?.find(({ projected }) => projected);
  assert.match(volume?.name ?? '', /^kube-api-access-/);
  assert.equal(pod.spec?.containers[0]?.volumeMounts?.[0]?.mountPath, '/var/run/secrets/kubernetes.io/serviceaccount');
  assert.deepEqual([pod.spec?.priority, pod.spec?.tolerations?.length, pod.status?.phase], [0, 2, 'Pending']);
  const spec = { containers: [container] };
  await assert.rejects(
    admin.create(resources.pods, { metadata: { name: 'lost' }, spec }, { namespace: 'nowhere' }),
    refused(404, /^namespaces "nowhere" not found$/),
  );
  await assert.rejects(makePod('odd', { serviceAccountName: 'gone' }), refused(403, /serviceaccount "gone" not found/));
  await assert.rejects(
    makePod('vip', { priorityClassName: 'gone' }),
    refused(403, /no PriorityClass with name gone was found/),
  );
});

test('tokens work for what they were made for, and end with the pod that they are bound to', async () => {
  const pod = await makePod('tokened');
  const request = async (boundObjectRef?: object, seconds = 600) => {
    const body = { spec: { expirationSeconds: seconds, ...(boundObjectRef ? { boundObjectRef } : {}) } };
    const path = '/api/v1/namespaces/default/serviceaccounts/default/token';
    const answer = await admin.request('POST', path, {
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', ...body },
    });
    return JSON.parse(answer.body.toString());
  };
  const bound = await request({ kind: 'Pod', apiVersion: 'v1', name: 'tokened', uid: pod.metadata.uid });
  const client = withToken(bound.status.token);
  const allowed = (path: string) => client.request('GET', path).then(({ status }) => status);
  assert.equal(await allowed('/api'), 200);
  await assert.rejects(
    client.list(resources.pods, { namespace: 'default' }),
    refused(
      403,
      /^pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default"$/,
    ),
  );
  await admin.create(
    resources.rolebindings,
    {
      metadata: { name: 'viewers' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
      subjects: [{ kind: 'ServiceAccount', name: 'default', namespace: 'default' }],
    },
    { namespace: 'default' },
  );
  assert.ok((await client.list(resources.pods, { namespace: 'default' })).items.length > 0);
  await admin.delete(resources.pods, 'tokened', { namespace: 'default' });
  await assert.rejects(client.list(resources.pods, { namespace: 'default' }), refused(401, /Unauthorized/));
  await assert.rejects(request(undefined, 5), refused(422, /may not specify a duration less than 10 minutes/));
});

test('a Service is given addresses and ports, which are free again when it goes', async () => {
  const make = (name: string, spec: object) =>
    admin.create(
      resources.services,
      { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } },
      { namespace: 'default' },
    );
  const web = await make('web', { type: 'NodePort', clusterIP: '10.96.0.77', ports: [{ port: 80, nodePort: 30_077 }] });
  assert.deepEqual([web.spec?.clusterIP, web.spec?.ports?.[0]?.nodePort], ['10.96.0.77', 30_077]);
  await assert.rejects(
    make('other', { clusterIP: '10.96.0.77' }),
    refused(422, /failed to allocate IP 10.96.0.77: provided IP is already allocated/),
  );
  await assert.rejects(
    make('other', { type: 'NodePort', ports: [{ port: 80, nodePort: 30_077 }] }),
    refused(422, /provided port is already allocated/),
  );
  await assert.rejects(
    admin.patch(
      resources.services,
      'web',
      { spec: { clusterIP: '10.96.0.78' } },
      { namespace: 'default', type: 'merge' },
    ),
    refused(422, /may not change once set/),
  );
  await admin.delete(resources.services, 'web', { namespace: 'default' });
  const again = await make('again', {
    type: 'NodePort',
    clusterIP: '10.96.0.77',
    ports: [{ port: 80, nodePort: 30_077 }],
  });
  assert.equal(again.spec?.clusterIP, '10.96.0.77');
});

test('a pod is bound once; its logs, commands and proxies go to its kubelet', async () => {
  await makePod('web');
  const bind = () =>
    admin.request('POST', '/api/v1/namespaces/default/pods/web/binding', {
      body: { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'web' }, target: { kind: 'Node', name: 'n1' } },
    });
  assert.equal((await bind()).status, 201);
  await assert.rejects(bind(), refused(409, /pod web is already assigned to node "n1"/));
  const log = await admin.request('GET', '/api/v1/namespaces/default/pods/web/log?tailLines=5&follow=true');
  assert.equal(log.body.toString(), 'line\n');
  assert.equal(asked.at(-1), 'GET /containerLogs/default/web/c?follow=true&tailLines=5');
  await assert.rejects(
    admin.request('GET', '/api/v1/namespaces/default/pods/web/log?container=x'),
    refused(400, /container x is not valid for pod web/),
  );
  const proxied = await admin.request('GET', '/api/v1/nodes/n1/proxy/pods');
  assert.deepEqual([proxied.body.toString(), proxied.headers['x-test']], ['[]', 'yes']);

  await makePod('starting', { nodeName: 'n1' });
  await assert.rejects(
    admin.request('GET', '/api/v1/namespaces/default/pods/starting/log'),
    refused(400, /waiting to start: ContainerCreating/),
  );
});

test('an upgrade is joined with the kubelet, unread', async () => {
  const { cert, key } = await issueCertificate(
    authority,
    { commonName: 'a', organizations: ['system:masters'], usages: ['client'] },
    now,
  );
  const client = new HttpClient({ baseUrl: server.url, ca: authority.cert, cert, key });
  const opened = await client.upgrade({
    method: 'POST',
    path: '/api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&stdin=true&stdout=true&tty=false',
    headers: { connection: 'Upgrade', upgrade: 'echo' },
  });
  assert.ok('socket' in opened);
  opened.socket.write('hello');
  const [chunk] = (await opened.socket[Symbol.asyncIterator]()
    .next()
    .then(({ value }) => [value])) as [Buffer];
  assert.equal(chunk.toString(), 'hello');
  assert.equal(asked.at(-1), 'POST /exec/default/web/c?input=1&output=1&command=sh&command=-c');
  opened.socket.destroy();
  client.close();
});

test('an eviction asks the budget', async () => {
  const labels = { app: 'guarded' };
  await admin.create(
    resources.pods,
    { metadata: { name: 'guarded', labels }, spec: { nodeName: 'n1', containers: [container] } },
    { namespace: 'default' },
  );
  const conditions = [{ type: 'Ready', status: 'True' }];
  await admin.patch(
    resources.pods,
    'guarded',
    { status: { phase: 'Running', conditions } },
    { namespace: 'default', type: 'merge', subresource: 'status' },
  );
  await admin.create(
    resources.poddisruptionbudgets,
    { metadata: { name: 'one' }, spec: { minAvailable: 1, selector: { matchLabels: labels } } },
    { namespace: 'default' },
  );
  const evict = () =>
    admin.request('POST', '/api/v1/namespaces/default/pods/guarded/eviction', {
      body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'guarded' } },
    });
  await assert.rejects(evict(), refused(429, /Cannot evict pod as it would violate the pod's disruption budget/));
  await admin.delete(resources.poddisruptionbudgets, 'one', { namespace: 'default' });
  assert.equal((await evict()).status, 201);
  const pod = await admin.get(resources.pods, 'guarded', { namespace: 'default' });
  assert.equal(pod.metadata.deletionGracePeriodSeconds, 30);
});

test('a node is kept to its own', async () => {
  const node = await clientAs('system:node:n1', 'system:nodes');
  const registered = await node.get(resources.nodes, 'n1');
  assert.deepEqual(registered.spec?.taints, [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]);
  await assert.rejects(
    node.create(resources.nodes, { metadata: { name: 'n2' }, spec: {} } as never),
    refused(403, /node "n1" is not allowed to modify node "n2"/),
  );
  await assert.rejects(
    node.get(resources.secrets, 'any', { namespace: 'default' }),
    refused(403, /no relationship found between node 'n1' and this object/),
  );
  await assert.rejects(
    node.create(
      resources.pods,
      { metadata: { name: 'mine' }, spec: { nodeName: 'n1', containers: [container] } },
      { namespace: 'default' },
    ),
    refused(403, /can only create mirror pods/),
  );
  const annotations = { 'kubernetes.io/config.mirror': 'hash' };
  const mirrorPod = (owner: object, spec: object = {}) =>
    node.create(
      resources.pods,
      {
        metadata: {
          name: 'mirror-n1',
          annotations,
          ownerReferences: [{ apiVersion: 'v1', kind: 'Node', ...owner } as never],
        },
        spec: { nodeName: 'n1', containers: [container], ...spec },
      },
      { namespace: 'default' },
    );
  const own = { name: 'n1', uid: registered.metadata.uid, controller: true };
  await assert.rejects(mirrorPod({ ...own, name: 'n2' }), refused(403, /with an owner reference set to itself/));
  await assert.rejects(mirrorPod({ ...own, uid: 'other' }), refused(403, /node n1 UID mismatch: expected other/));
  await assert.rejects(
    mirrorPod(own, { volumes: [{ name: 'v', secret: { secretName: 's' } }] }),
    refused(403, /can not create pods that reference secrets/),
  );
  assert.equal((await mirrorPod(own)).spec?.serviceAccountName, undefined);
});

test('a node reads its own pods and Node, and labels, leases and certificates are its own', async () => {
  const node = await clientAs('system:node:n1', 'system:nodes');
  await assert.rejects(node.list(resources.nodes), refused(403, /cannot read all nodes, only its own Node object/));
  await assert.rejects(
    node.list(resources.pods),
    refused(403, /can only list\/watch pods with spec.nodeName field selector/),
  );
  await node.list(resources.pods, { fieldSelector: 'spec.nodeName=n1' });
  await node.list(resources.nodes, { fieldSelector: 'metadata.name=n1' });
  for (const [labels, message] of [
    [{ 'node-restriction.kubernetes.io/a': 'b' }, /is not allowed to modify labels: node-restriction/],
    [{ 'any.kubernetes.io/a': 'b' }, /is not allowed to modify labels: any.kubernetes.io/],
  ] as const)
    await assert.rejects(
      node.patch(resources.nodes, 'n1', { metadata: { labels } }, { type: 'merge' }),
      refused(403, message),
    );
  await node.patch(resources.nodes, 'n1', { metadata: { labels: { own: 'a' } } }, { type: 'merge' });
  await assert.rejects(
    node.create(resources.leases, { metadata: { name: 'n2' }, spec: {} }, { namespace: 'kube-node-lease' }),
    refused(403, /can only access node lease with the same name as the requesting node/),
  );
  const ask = async (commonName: string, signerName: string) => {
    const { request } = await createSigningRequest({ commonName, organizations: ['system:nodes'] });
    const usages = ['digital signature', 'client auth'];
    const spec = { request: Buffer.from(request).toString('base64'), signerName, usages };
    return node.create(resources.certificatesigningrequests, { metadata: { generateName: 'csr-' }, spec } as never);
  };
  const signer = 'kubernetes.io/kube-apiserver-client-kubelet';
  await assert.rejects(
    ask('system:node:n2', signer),
    refused(403, /can only create a node CSR with CN=system:node:n1/),
  );
  assert.equal((await ask('system:node:n1', signer)).spec.username, 'system:node:n1');
});

test('who may be taken for another says what the other may do', async () => {
  const ann = await clientAs('ann');
  const headers = { 'impersonate-user': 'bob' };
  await assert.rejects(
    ann.request('GET', '/api/v1/pods', { headers }),
    refused(403, /users "bob" is forbidden: User "ann" cannot impersonate resource "users"/),
  );
  await assert.rejects(
    admin.request('GET', '/api/v1/pods', { headers }),
    refused(403, /User "bob" cannot list resource "pods" in API group "" at the cluster scope/),
  );
  const spec = { user: 'bob', resourceAttributes: { verb: 'get', resource: 'pods', namespace: 'default' } };
  const review = await admin.create(resources.subjectaccessreviews, { metadata: {}, spec });
  assert.equal(review.status?.allowed, false);
});

test('everybody in the cluster can check tokens: the issuer says how', async () => {
  const document = JSON.parse((await admin.request('GET', '/.well-known/openid-configuration')).body.toString());
  assert.equal(document.issuer, 'https://kubernetes.default.svc.cluster.local');
  assert.equal(document.jwks_uri, 'https://10.1.2.3:6443/openid/v1/jwks');
  const { keys } = JSON.parse((await admin.request('GET', '/openid/v1/jwks')).body.toString());
  assert.deepEqual([keys[0].alg, keys[0].kty, keys[0].use], ['ES256', 'EC', 'sig']);
});

test('a node may watch the one Secret that its pod names', async () => {
  const node = await clientAs('system:node:n1', 'system:nodes');
  await admin.create(resources.secrets, { metadata: { name: 'used' } }, { namespace: 'default' });
  const list = () => node.list(resources.secrets, { namespace: 'default', fieldSelector: 'metadata.name=used' });
  await assert.rejects(list(), refused(403, /no relationship found/));
  const envFrom = [{ secretRef: { name: 'used' } }];
  await makePod('user', { nodeName: 'n1', containers: [{ ...container, envFrom }] });
  assert.equal((await list()).items.length, 1);
  await assert.rejects(node.list(resources.secrets, { namespace: 'default' }), refused(403, /No Object name found/));
});

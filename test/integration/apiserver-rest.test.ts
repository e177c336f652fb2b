/** The generic API server over HTTPS, with nothing plugged in. */
import assert from 'node:assert/strict';
import { request as httpsRequest } from 'node:https';
import { after, before, describe, it } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { StatusError } from '../../src/controlplane/index.ts';
import { HttpClient } from '../../src/wire/http/index.ts';
import { startTestApiServer, type TestApiServer } from '../support/apiserver.ts';

let api: TestApiServer;
let http: HttpClient;
const base = '/api/v1/namespaces/default/configmaps';

before(async () => {
  api = await startTestApiServer({
    historyMs: 300_000,
    extensions: {
      connectors: {
        'pods/exec': async ({ upgrade, name }) => {
          if (!upgrade) throw new StatusError(400, 'BadRequest', 'Upgrade request required');
          upgrade.socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
          upgrade.socket.write(`${name} `);
          upgrade.socket.pipe(upgrade.socket);
          return { kind: 'taken' };
        },
        'pods/log': async () => ({
          kind: 'stream',
          status: 200,
          headers: { 'content-type': 'text/plain' },
          body: lines(),
        }),
        'authentication.k8s.io/tokenreviews': async ({ body }) => ({
          kind: 'object',
          status: 201,
          object: { ...body, status: { authenticated: body.spec.token === 'good' } },
        }),
      },
      rules: {
        pods: {
          selectableFields: (pod) => ({ 'spec.nodeName': pod.spec?.nodeName ?? '' }),
          graceSeconds: (pod, asked) => (pod.spec?.nodeName ? (asked ?? 30) : 0),
        },
      },
    },
  });
  http = new HttpClient({ baseUrl: api.url, ca: api.ca });
});
after(async () => {
  for (const stream of streams) stream.destroy();
  http.close();
  await api.stop();
});

async function* lines() {
  for (const line of ['one\n', 'two\n']) yield Buffer.from(line);
}

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const answer = await http.request({
    method,
    path,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = answer.body.toString();
  return { status: answer.status, headers: answer.headers, body: text.startsWith('{') ? JSON.parse(text) : text };
}

const map = (name: string, more: object = {}, data: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, ...more },
  data,
});
const patchType = (kind: string) => ({ 'content-type': `application/${kind}+json` });

const streams: { destroy(): void }[] = [];

/** Collects the events of a watch. */
function watch(path: string, headers: Record<string, string> = {}) {
  const events: any[] = [];
  let ended = false;
  let rest = '';
  const request = httpsRequest(api.url + path, { ca: api.ca, headers }, (response) => {
    response.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      events.push(...lines.map((line) => JSON.parse(line)));
    });
    response.on('end', () => {
      ended = true;
    });
    response.on('error', () => {});
  });
  request.on('error', () => {});
  request.end();
  const until = (count: number) =>
    pollUntil(`${count} events`, () => (events.length >= count ? events : undefined), { timeoutMs: 5000 });
  streams.push(request);
  return { events, until, stop: () => request.destroy(), ended: () => ended };
}

describe('objects', () => {
  it('are created, read, updated and deleted', async () => {
    const created = await call('POST', base, map('a', {}, { x: '1' }));
    assert.equal(created.status, 201);
    assert.match(created.body.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.equal((await call('POST', base, map('a'))).body.message, 'configmaps "a" already exists');
    const updated = await call('PUT', `${base}/a`, { ...created.body, data: { x: '2' } });
    assert.equal(updated.status, 200);
    assert.equal(updated.body.metadata.uid, created.body.metadata.uid);
    const stale = await call('PUT', `${base}/a`, { ...created.body, data: { x: '3' } });
    assert.equal(stale.status, 409);
    assert.match(stale.body.message, /the object has been modified; please apply your changes to the latest version/);
    const same = await call('PUT', `${base}/a`, updated.body);
    assert.equal(same.body.metadata.resourceVersion, updated.body.metadata.resourceVersion, 'no change, no write');
    const deleted = await call('DELETE', `${base}/a`);
    assert.deepEqual([deleted.status, deleted.body.status, deleted.body.details.name], [200, 'Success', 'a']);
    const gone = await call('GET', `${base}/a`);
    assert.deepEqual([gone.status, gone.body.reason, gone.body.message], [404, 'NotFound', 'configmaps "a" not found']);
  });

  it('get generated names, and are refused without one or in the wrong place', async () => {
    const { body } = await call('POST', base, { ...map(''), metadata: { generateName: 'gen-' } });
    assert.match(body.metadata.name, /^gen-[a-z0-9]{5}$/);
    assert.equal((await call('POST', base, { ...map(''), metadata: {} })).status, 422);
    assert.equal((await call('POST', base, map('x', { namespace: 'other' }))).status, 400);
    assert.equal((await call('PUT', `${base}/y`, map('z'))).status, 404);
    assert.equal((await call('POST', base, map('x', { resourceVersion: '5' }))).status, 400);
  });

  it('are left alone by a dry run', async () => {
    assert.equal((await call('POST', `${base}?dryRun=All`, map('dry'))).status, 201);
    assert.equal((await call('GET', `${base}/dry`)).status, 404);
    assert.equal((await call('POST', `${base}?dryRun=Some`, map('dry'))).status, 400);
  });

  it('refuse bad bodies, media types, methods and paths with the right status', async () => {
    assert.equal((await call('POST', base, '{"a":')).status, 400);
    assert.equal((await call('POST', base, '[1]')).status, 400);
    assert.equal((await call('POST', base, 'x', { 'content-type': 'text/csv' })).status, 415);
    assert.equal((await call('PATCH', `${base}/x`, '{}', { 'content-type': 'application/json' })).status, 415);
    assert.equal((await call('GET', base, undefined, { accept: 'image/png' })).status, 406);
    assert.equal((await call('PUT', base, map('x'))).status, 405);
    assert.equal((await call('GET', '/apis/nothing.io/v1/things')).status, 404);
    assert.equal((await call('POST', base, map('big', {}, { x: 'x'.repeat(3_200_000) }))).status, 413);
    const kind = await call('POST', base, { ...map('x'), kind: 'Secret' });
    assert.equal(kind.status, 400);
    const strict = await call('POST', `${base}?fieldValidation=Strict`, { ...map('x'), foo: 1 });
    assert.match(strict.body.message, /strict decoding error: unknown field "foo"/);
    const warned = await call('POST', base, { ...map('warned'), foo: 1 });
    assert.deepEqual([warned.status, warned.headers['warning']], [201, '299 - "unknown field \\"foo\\""']);
    assert.equal(warned.body.foo, undefined);
  });
});

describe('many at once', () => {
  it('patch one object without losing a patch', async () => {
    await call('POST', base, map('busy'));
    const answers = await Promise.all(
      Array.from({ length: 80 }, (_, i) =>
        call('PATCH', `${base}/busy`, { data: { [`k${i}`]: 'x' } }, patchType('merge-patch')),
      ),
    );
    assert.deepEqual([...new Set(answers.map((one) => one.status))], [200]);
    assert.equal(Object.keys((await call('GET', `${base}/busy`)).body.data).length, 80);
  });
  it('create one name once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => call('POST', base, map('single'))));
    assert.equal(answers.filter((one) => one.status === 201).length, 1);
    assert.equal(answers.filter((one) => one.status === 409).length, 19);
  });
  it('see malformed requests refused and go on', async () => {
    for (const path of ['/api/v1/namespaces/%zz/pods', '/apis//', '/api/v1/namespaces/a/b/c/d/e/f', '/%00']) {
      const { status } = await call('GET', path);
      assert.ok(status === 400 || status === 404, `${path}: ${status}`);
    }
    assert.equal((await call('GET', `${base}?limit=-1`)).status, 400);
    const proto = JSON.parse('{"metadata":{"name":"proto"},"data":{"__proto__":"x","constructor":"y"}}');
    assert.equal((await call('POST', base, JSON.stringify(proto))).status, 201);
    assert.equal((await call('GET', `${base}/proto`)).body.data.constructor, 'y');
  });
});

describe('deletion', () => {
  const pods = '/api/v1/namespaces/default/pods';
  const pod = (name: string, spec: object = {}, metadata: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...metadata },
    spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
  });

  it('waits for finalizers', async () => {
    await call('POST', base, map('held', { finalizers: ['example.com/x'] }));
    const marked = await call('DELETE', `${base}/held`);
    assert.ok(marked.body.metadata.deletionTimestamp);
    assert.equal((await call('GET', `${base}/held`)).status, 200);
    const freed = await call('PATCH', `${base}/held`, { metadata: { finalizers: null } }, patchType('merge-patch'));
    assert.equal(freed.status, 200);
    assert.equal((await call('GET', `${base}/held`)).status, 404);
  });
  it('is graceful where the kind says so, and can be shortened', async () => {
    await call('POST', pods, pod('slow', { nodeName: 'n' }));
    const first = await call('DELETE', `${pods}/slow`);
    assert.equal(first.body.metadata.deletionGracePeriodSeconds, 30);
    const again = await call('DELETE', `${pods}/slow`);
    assert.equal(again.body.metadata.resourceVersion, first.body.metadata.resourceVersion);
    await call('DELETE', `${pods}/slow`, { gracePeriodSeconds: 0 });
    assert.equal((await call('GET', `${pods}/slow`)).status, 404);
  });
  it('checks preconditions and turns propagation policies into finalizers', async () => {
    await call('POST', base, map('owner'));
    assert.equal((await call('DELETE', `${base}/owner`, { preconditions: { uid: 'other' } })).status, 409);
    const marked = await call('DELETE', `${base}/owner?propagationPolicy=Foreground`);
    assert.deepEqual(marked.body.metadata.finalizers, ['foregroundDeletion']);
    assert.equal((await call('DELETE', `${base}/owner?propagationPolicy=Sideways`)).status, 422);
    const background = await call('DELETE', `${base}/owner?propagationPolicy=Background`);
    assert.equal(background.body.status, 'Success');
  });
  it('takes whole collections by selector', async () => {
    for (const name of ['c1', 'c2', 'c3'])
      await call('POST', base, map(name, { labels: { set: name === 'c3' ? 'b' : 'a' } }));
    await call('DELETE', `${base}?labelSelector=set%3Da`);
    const { body } = await call('GET', `${base}?labelSelector=set`);
    assert.deepEqual(
      body.items.map((one: any) => one.metadata.name),
      ['c3'],
    );
  });
});

describe('lists', () => {
  const path = '/api/v1/namespaces/paged/configmaps';
  before(async () => {
    for (let i = 0; i < 5; i++) await call('POST', path, map(`p${i}`, { labels: { odd: String(i % 2) } }));
  });
  it('come in pages of one snapshot', async () => {
    const first = (await call('GET', `${path}?limit=2`)).body;
    assert.equal(first.metadata.remainingItemCount, 3);
    await call('DELETE', `${path}/p3`);
    await call('POST', path, map('p9'));
    const names: string[] = [];
    for (let token = first.metadata.continue; token; ) {
      const page = (await call('GET', `${path}?limit=2&continue=${token}`)).body;
      assert.equal(page.metadata.resourceVersion, first.metadata.resourceVersion);
      names.push(...page.items.map((one: any) => one.metadata.name));
      token = page.metadata.continue;
    }
    assert.deepEqual(names, ['p2', 'p3', 'p4']);
    assert.equal((await call('GET', `${path}?continue=nonsense`)).status, 400);
  });
  it('are selected by labels and fields', async () => {
    const select = async (query: string) =>
      (await call('GET', `${path}?${query}`)).body.items?.map((one: any) => one.metadata.name).join();
    assert.equal(await select('labelSelector=odd%20in%20(0)'), 'p0,p2,p4');
    assert.equal(await select('fieldSelector=metadata.name%3Dp1'), 'p1');
    assert.equal(await select('fieldSelector=metadata.name!%3Dp1&labelSelector=odd'), 'p0,p2,p4');
    const wrong = await call('GET', `${path}?fieldSelector=spec.color%3Dred`);
    assert.equal(wrong.status, 400);
    assert.match(wrong.body.message, /not a known field selector/);
    assert.equal((await call('GET', `${path}?labelSelector=%21%21`)).status, 400);
    assert.equal((await call('GET', `${path}?resourceVersion=999999`)).status, 504);
  });
  it('can be tables or metadata alone', async () => {
    const as = (form: string) => ({ accept: `application/json;as=${form};v=v1;g=meta.k8s.io,application/json` });
    const table = (await call('GET', path, undefined, as('Table'))).body;
    assert.deepEqual([table.kind, table.columnDefinitions[0].name, table.rows[0].cells[0]], ['Table', 'Name', 'p0']);
    assert.equal(table.rows[0].object.kind, 'PartialObjectMetadata');
    const partial = (await call('GET', path, undefined, as('PartialObjectMetadataList'))).body;
    assert.equal(partial.kind, 'PartialObjectMetadataList');
    assert.equal(partial.items[0].data, undefined);
  });
});

describe('watches', () => {
  const path = '/api/v1/namespaces/watched/configmaps';
  it('tell what is there, say so, and go on', async () => {
    await call('POST', path, map('w0'));
    const stream = watch(
      `${path}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
    );
    await stream.until(2);
    assert.equal(stream.events[0].type, 'ADDED');
    assert.equal(stream.events[1].type, 'BOOKMARK');
    assert.equal(stream.events[1].object.metadata.annotations['k8s.io/initial-events-end'], 'true');
    await call('PATCH', `${path}/w0`, { data: { a: 'ü' } }, patchType('merge-patch'));
    await call('DELETE', `${path}/w0`);
    await stream.until(4);
    assert.deepEqual(
      stream.events.slice(2).map((one) => one.type),
      ['MODIFIED', 'DELETED'],
    );
    assert.equal(stream.events[2].object.data.a, 'ü');
    stream.stop();
  });
  it('resume from a revision, and see selected objects come and go', async () => {
    const { body } = await call('POST', path, map('r0', { labels: { on: 'yes' } }));
    const from = body.metadata.resourceVersion;
    await call('PATCH', `${path}/r0`, { metadata: { labels: { on: 'no' } } }, patchType('merge-patch'));
    await call('PATCH', `${path}/r0`, { metadata: { labels: { on: 'yes' } } }, patchType('merge-patch'));
    const stream = watch(`${path}?watch=1&resourceVersion=${from}&labelSelector=on%3Dyes&timeoutSeconds=1`);
    await stream.until(2);
    assert.deepEqual(
      stream.events.map((one) => one.type),
      ['DELETED', 'ADDED'],
    );
    assert.equal(stream.events[0].object.metadata.labels.on, 'yes');
    await pollUntil('the end at the timeout', stream.ended, { timeoutMs: 4000 });
  });
  it('are told when they ask for what is not kept, or misuse the options', async (t) => {
    const future = await call('GET', `${path}?watch=1&resourceVersion=999999`);
    assert.equal(future.status, 504);
    assert.equal((await call('GET', `${path}?watch=1&sendInitialEvents=true`)).status, 422);
    const other = await startTestApiServer({ historyMs: 1 });
    t.after(() => other.stop());
    const client = new HttpClient({ baseUrl: other.url, ca: other.ca });
    const create = (name: string) =>
      client.request({
        method: 'POST',
        path: base,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(map(name)),
      });
    await create('one');
    await pollUntil(
      'the compaction',
      async () => {
        await create(`n${Math.random()}`.replace('.', ''));
        const answer = await client.request({ path: `${base}?watch=1&resourceVersion=1&timeoutSeconds=1` });
        return answer.body.toString().includes('"code":410') ? true : undefined;
      },
      { timeoutMs: 8000 },
    );
    client.close();
  });
  it('come as tables too', async () => {
    const stream = watch(`${path}?watch=1&resourceVersion=0`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    });
    await stream.until(1);
    assert.equal(stream.events[0].object.kind, 'Table');
    stream.stop();
  });
});

describe('resources served twice', () => {
  it('are one object in two forms', async () => {
    const event = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: 'e1' },
      regarding: { kind: 'Pod', name: 'p' },
      note: 'hello',
      reason: 'Because',
      type: 'Normal',
    };
    const created = await call('POST', '/apis/events.k8s.io/v1/namespaces/default/events', event);
    assert.equal(created.body.note, 'hello');
    const core = (await call('GET', '/api/v1/namespaces/default/events/e1')).body;
    assert.deepEqual([core.message, core.involvedObject.name, core.note], ['hello', 'p', undefined]);
    const v2 = await call('POST', '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers', {
      metadata: { name: 'h' },
      spec: { maxReplicas: 3, targetCPUUtilizationPercentage: 70, scaleTargetRef: { kind: 'Deployment', name: 'd' } },
    });
    assert.equal(v2.body.spec.targetCPUUtilizationPercentage, 70);
    const other = (await call('GET', '/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h')).body;
    assert.equal(other.spec.metrics[0].resource.target.averageUtilization, 70);
  });
});

describe('subresources', () => {
  it('separate status from spec, count generations, and scale', async () => {
    const path = '/apis/apps/v1/namespaces/default/deployments';
    const spec = { replicas: 1, selector: { matchLabels: { a: 'b' } }, template: { spec: { containers: [] } } };
    const created = (await call('POST', path, { metadata: { name: 'd' }, spec, status: { replicas: 9 } })).body;
    assert.equal(created.metadata.generation, 1);
    const status = { ...created, spec: { ...spec, replicas: 7 }, status: { replicas: 1 } };
    const after = (await call('PUT', `${path}/d/status`, status)).body;
    assert.deepEqual([after.spec.replicas, after.status.replicas, after.metadata.generation], [1, 1, 1]);
    const scaled = await call('PATCH', `${path}/d/scale`, { spec: { replicas: 4 } }, patchType('merge-patch'));
    assert.deepEqual([scaled.body.kind, scaled.body.spec.replicas, scaled.body.status.selector], ['Scale', 4, 'a=b']);
    const now = (await call('GET', `${path}/d`)).body;
    assert.deepEqual([now.spec.replicas, now.metadata.generation, now.status.replicas], [4, 2, 1]);
    assert.equal(
      (await call('PATCH', `${path}/d/scale`, { spec: { replicas: -1 } }, patchType('merge-patch'))).status,
      422,
    );
  });
});

describe('connectors', () => {
  const pod = '/api/v1/namespaces/default/pods/p';
  it('answer with objects and streams', async () => {
    assert.equal((await call('GET', `${pod}/log`)).body, 'one\ntwo\n');
    assert.equal((await call('DELETE', `${pod}/log`)).status, 405);
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token: 'good' } };
    const reviewed = await call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', review);
    assert.deepEqual([reviewed.status, reviewed.body.status.authenticated], [201, true]);
    const unserved = await call('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {});
    assert.equal(unserved.status, 404);
  });
  it('take the connection for another protocol', async () => {
    const upgrade = (path: string) =>
      new Promise<string>((resolve, reject) => {
        const headers = { connection: 'Upgrade', upgrade: 'echo' };
        const request = httpsRequest(api.url + path, { ca: api.ca, headers });
        request.on('upgrade', (_, socket) => {
          let text = '';
          socket.on('data', (chunk: Buffer) => {
            text += chunk;
            if (text.endsWith('hello')) {
              resolve(text);
              socket.destroy();
            }
          });
          socket.write('hello');
        });
        request.on('response', (response) => resolve(`status ${response.statusCode}`));
        request.on('error', reject);
        request.end();
      });
    assert.equal(await upgrade(`${pod}/exec`), 'p hello');
    assert.equal(await upgrade(`${pod}/attach`), 'status 400');
    assert.equal((await call('GET', `${pod}/exec`)).status, 400);
  });
});

describe('server-side apply', () => {
  const apply = (manager: string, config: object, query = '') =>
    call('PATCH', `${base}/applied?fieldManager=${manager}${query}`, config, {
      'content-type': 'application/apply-patch+yaml',
    });
  it('creates, merges, conflicts, forces and takes away', async () => {
    assert.equal((await apply('one', map('applied', {}, { a: '1', b: '1' }))).status, 201);
    const second = await apply('two', map('applied', {}, { c: '1' }));
    assert.deepEqual(second.body.data, { a: '1', b: '1', c: '1' });
    const conflict = await apply('two', map('applied', {}, { c: '1', a: '2' }));
    assert.equal(conflict.status, 409);
    assert.equal(conflict.body.details.causes[0].reason, 'FieldManagerConflict');
    assert.equal(conflict.body.details.causes[0].field, '.data.a');
    assert.equal((await apply('two', map('applied', {}, { c: '1', a: '2' }), '&force=true')).body.data.a, '2');
    const less = await apply('one', map('applied', {}, {}));
    assert.deepEqual(less.body.data, { a: '2', c: '1' }, 'b was given up by its only manager');
    const same = await apply('one', map('applied', {}, {}));
    assert.equal(same.body.metadata.resourceVersion, less.body.metadata.resourceVersion);
    await call('PATCH', `${base}/applied`, { data: { c: '9' } }, patchType('merge-patch'));
    assert.equal((await apply('two', map('applied', {}, { c: '1', a: '2' }))).status, 409, 'the plain patch took c');
  });
});

describe('documents', () => {
  it('tell what is served', async () => {
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
    const { body, headers } = await call('GET', '/apis', undefined, { accept });
    assert.equal(body.kind, 'APIGroupDiscoveryList');
    assert.match(String(headers['content-type']), /APIGroupDiscoveryList/);
    assert.equal((await call('GET', '/apis')).body.kind, 'APIGroupList');
    assert.ok((await call('GET', '/api/v1')).body.resources.some((one: any) => one.name === 'pods/log'));
    assert.equal((await call('GET', '/version')).body.major, '1');
    assert.equal((await call('GET', '/readyz')).body, 'ok');
    assert.match((await call('GET', '/readyz?verbose')).body, /readyz check passed/);
    const { paths } = (await call('GET', '/openapi/v3')).body;
    const apps = (await call('GET', paths['apis/apps/v1'].serverRelativeURL)).body;
    const deployment = apps.components.schemas['io.k8s.api.apps.v1.Deployment'];
    assert.equal(deployment['x-kubernetes-group-version-kind'][0].kind, 'Deployment');
    assert.ok(apps.paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}'].patch);
    assert.ok((await call('GET', '/openapi/v2')).body.definitions['io.k8s.api.core.v1.Pod']);
    assert.match((await call('GET', '/metrics')).body, /apiserver_request_total\{/);
  });
});

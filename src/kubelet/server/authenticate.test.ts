import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { createLogger } from '../../log/index.ts';
import type { IncomingMessage } from '../../wire/http/index.ts';
import { completeConfiguration } from '../config/kubelet-configuration.ts';
import { Authenticator } from './authenticate.ts';
import { Gate } from './authorize.ts';

/** An API server that knows one token, and lets its owner read metrics. */
function apiServer(): { client: ApiClient; asked: string[]; fail: (yes: boolean) => void } {
  const asked: string[] = [];
  let failing = false;
  const request = async (_method: string, path: string, { body }: { body: any }) => {
    asked.push(path.split('/').at(-1)!);
    if (failing) throw new Error('connection refused');
    const { spec } = body;
    const status = path.endsWith('tokenreviews')
      ? {
          authenticated: spec.token === 'good',
          user: { username: 'reader', groups: ['readers'], extra: { from: ['test'] } },
        }
      : { allowed: spec.user === 'reader' && spec.resourceAttributes.subresource === 'metrics' };
    return { status: 200, headers: {}, body: Buffer.from(JSON.stringify({ status })) };
  };
  const fail = (yes: boolean) => {
    failing = yes;
  };
  return { client: { request } as unknown as ApiClient, asked, fail };
}

const from = (headers: Record<string, string>, method = 'GET'): IncomingMessage =>
  ({ method, headers, socket: {} }) as unknown as IncomingMessage;
const bearer = (token: string) => from({ authorization: `Bearer ${token}` });

test('a token is asked about once, in a header or among the protocols of a WebSocket', async () => {
  const { client, asked } = apiServer();
  const clock = new FakeClock();
  const authenticator = new Authenticator(client, completeConfiguration(), clock);
  const reader = { name: 'reader', groups: ['readers'], extra: { from: ['test'] } };
  assert.deepEqual(await authenticator.identify(bearer('good')), reader);
  const encoded = Buffer.from('good').toString('base64url');
  const protocols = `v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.${encoded}`;
  assert.deepEqual(await authenticator.identify(from({ 'sec-websocket-protocol': protocols })), reader);
  assert.equal(asked.length, 1);
  assert.equal(await authenticator.identify(bearer('bad')), undefined);
  assert.equal(await authenticator.identify(from({})), undefined);
  await clock.advance(121_000);
  await authenticator.identify(bearer('good'));
  assert.deepEqual(asked, ['tokenreviews', 'tokenreviews', 'tokenreviews']);
});

test('nobody in particular is somebody only when that is configured', async () => {
  const { client, fail } = apiServer();
  const configuration = completeConfiguration({ authentication: { anonymous: { enabled: true } } });
  const authenticator = new Authenticator(client, configuration, new FakeClock());
  const nobody = { name: 'system:anonymous', groups: ['system:unauthenticated'] };
  assert.deepEqual(await authenticator.identify(from({})), nobody);
  assert.deepEqual(await authenticator.identify(bearer('bad')), nobody);
  fail(true);
  assert.deepEqual(await authenticator.identify(bearer('other')), nobody);
});

test('what somebody may is asked once; an API server that does not answer is no refusal', async () => {
  const { client, asked, fail } = apiServer();
  const log = createLogger('test', () => {});
  const gate = new Gate({ client, configuration: completeConfiguration(), nodeName: 'n', clock: new FakeClock(), log });
  for (let i = 0; i < 3; i++) assert.equal((await gate.admit(bearer('good'), 'metrics')).name, 'reader');
  assert.deepEqual(asked, ['tokenreviews', 'subjectaccessreviews']);
  await assert.rejects(gate.admit(bearer('good'), 'pods'), {
    status: 403,
    message: 'Forbidden (user=reader, verb=get, resource=nodes, subresource(s)=[pods proxy])',
  });
  await assert.rejects(gate.admit(bearer('bad'), 'metrics'), { status: 401, message: 'Unauthorized' });
  fail(true);
  assert.equal((await gate.admit(bearer('good'), 'metrics')).name, 'reader', 'what is known still counts');
  await assert.rejects(gate.admit(bearer('good'), 'stats'), {
    status: 500,
    message: 'Authorization error (user=reader, verb=get, resource=nodes, subresource=stats)',
  });
  const open = completeConfiguration({ authorization: { mode: 'AlwaysAllow' } });
  const openGate = new Gate({ client, configuration: open, nodeName: 'n', clock: new FakeClock(), log });
  await assert.rejects(openGate.admit(from({}), 'exec'), { status: 401 });
});

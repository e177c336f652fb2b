import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { decode, encode, type Packet, type RecordType } from 'dns-packet';
import type { EndpointSlice, Service } from '../../api/index.ts';
import { systemClock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { askDns, type DnsListener, serveDns } from '../../wire/dns/index.ts';
import { Resolver } from './answer.ts';
import { Forwarder, parseResolvConf } from './forwarder.ts';
import { ReverseIndex } from './reverse-index.ts';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, with: () => quiet };
const meta = (name: string, labels = {}) => ({
  name,
  namespace: 'default',
  uid: name,
  resourceVersion: '1',
  creationTimestamp: '',
  labels,
});

const services: Service[] = [
  {
    metadata: meta('web'),
    spec: {
      clusterIP: '10.96.0.10',
      clusterIPs: ['10.96.0.10', 'fd00::10'],
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
    },
  },
  { metadata: meta('db'), spec: { clusterIP: 'None', ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }] } },
  { metadata: meta('many'), spec: { clusterIP: 'None' } },
  { metadata: meta('out'), spec: { type: 'ExternalName', externalName: 'example.org' } },
  { metadata: meta('inside'), spec: { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' } },
];
const slice = (
  service: string,
  endpoints: EndpointSlice['endpoints'],
  ports: EndpointSlice['ports'] = [],
): EndpointSlice => ({
  metadata: meta(`${service}-1`, { 'kubernetes.io/service-name': service }),
  addressType: 'IPv4',
  endpoints: endpoints!,
  ports: ports!,
});
const slices = [
  slice(
    'db',
    [
      { addresses: ['10.244.0.5'], hostname: 'db-0', conditions: { ready: true } },
      { addresses: ['10.244.0.6'], conditions: { ready: true } },
      { addresses: ['10.244.0.7'], conditions: { ready: false } },
    ],
    [{ name: 'sql', port: 5432, protocol: 'TCP' }],
  ),
  slice(
    'many',
    Array.from({ length: 100 }, (_, i) => ({ addresses: [`10.244.1.${i}`], conditions: { ready: true } })),
  ),
];
const reverse = new ReverseIndex(
  'cluster.local',
  () => services,
  () => slices,
);
const source = {
  service: (namespace: string, name: string) =>
    namespace === 'default' ? services.find(({ metadata }) => metadata.name === name) : undefined,
  slices: (_namespace: string, name: string) =>
    slices.filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === name),
  hasNamespace: (name: string) => name === 'default',
  namesOf: (address: string) => reverse.namesOf(address),
};

let upstream: DnsListener;
let server: DnsListener;
let asked = 0;

before(async () => {
  upstream = await serveDns({ host: '127.0.0.1', port: 0 }, async (message) => {
    asked++;
    const { id, questions } = decode(message);
    const question = questions![0]!;
    if (question.name === 'silent.example') return undefined;
    return Buffer.from(
      encode({
        type: 'response',
        id: id!,
        flags: 0x180,
        questions: questions!,
        answers: [{ type: 'A', name: question.name, ttl: 60, data: '192.0.2.1' }],
      }),
    );
  });
  const forwarder = new Forwarder({
    upstreams: [{ host: '127.0.0.1', port: upstream.port }],
    log: quiet,
    clock: systemClock,
    timeoutMs: 100,
  });
  const resolver = new Resolver({ domain: 'cluster.local', source, forwarder, log: quiet });
  server = await serveDns({ host: '127.0.0.1', port: 0 }, (message, { transport }) =>
    resolver.answer(message, transport),
  );
});
after(async () => {
  await server?.close();
  await upstream?.close();
});

type Answer = Packet & { code: number; values: unknown[]; types: string[]; truncated: boolean; authoritative: boolean };

async function ask(
  name: string,
  type: RecordType | 'ANY' = 'A',
  options: { transport?: 'udp' | 'tcp'; size?: number } = {},
): Promise<Answer> {
  const additionals = options.size
    ? [{ type: 'OPT', name: '.', udpPayloadSize: options.size, flags: 0, options: [] } as never]
    : [];
  const message = Buffer.from(
    encode({
      type: 'query',
      id: 7,
      flags: 0x100,
      questions: [{ type: type as RecordType, name, class: 'IN' }],
      additionals,
    }),
  );
  const reply = await askDns({ host: '127.0.0.1', port: server.port }, message, {
    transport: options.transport ?? 'udp',
    timeoutMs: 2_000,
  });
  const packet = decode(reply);
  const flags = reply.readUInt16BE(2);
  return {
    ...packet,
    code: flags & 15,
    truncated: (flags & 0x200) !== 0,
    authoritative: (flags & 0x400) !== 0,
    values: (packet.answers ?? []).map((answer) => (answer as { data: unknown }).data),
    types: (packet.answers ?? []).map((answer) => answer.type),
  };
}

test('a Service has the addresses of its families, in any case of letters', async () => {
  assert.deepEqual((await ask('web.default.svc.cluster.local')).values, ['10.96.0.10']);
  assert.deepEqual((await ask('WEB.Default.svc.cluster.local')).values, ['10.96.0.10']);
  assert.deepEqual((await ask('web.default.svc.cluster.local', 'AAAA')).values, ['fd00::10']);
  const { answers, authoritative } = await ask('web.default.svc.cluster.local');
  assert.equal((answers![0] as { ttl: number }).ttl, 5);
  assert.ok(authoritative);
});

test('a name that is not there and a type that is not there are different', async () => {
  for (const name of [
    'nothing.default.svc.cluster.local',
    'web.nowhere.svc.cluster.local',
    'example.org.default.svc.cluster.local',
    'example.org.cluster.local',
  ]) {
    const answer = await ask(name);
    assert.equal(answer.code, 3, name);
    assert.equal(answer.authorities?.[0]?.type, 'SOA');
    assert.equal((answer.authorities![0] as { data: { minimum: number } }).data.minimum, 5);
  }
  for (const [name, type] of [
    ['db.default.svc.cluster.local', 'AAAA'],
    ['svc.cluster.local', 'A'],
    ['default.svc.cluster.local', 'A'],
    ['web.default.svc.cluster.local', 'MX'],
  ] as const) {
    const answer = await ask(name, type);
    assert.equal(answer.code, 0, name);
    assert.equal(answer.answers?.length, 0);
    assert.equal(answer.authorities?.[0]?.type, 'SOA');
  }
});

test('a headless Service has its ready pods, each also by a name of its own', async () => {
  assert.deepEqual((await ask('db.default.svc.cluster.local')).values.sort(), ['10.244.0.5', '10.244.0.6']);
  assert.deepEqual((await ask('db-0.db.default.svc.cluster.local')).values, ['10.244.0.5']);
  assert.deepEqual((await ask('10-244-0-6.db.default.svc.cluster.local')).values, ['10.244.0.6']);
  assert.equal((await ask('db-9.db.default.svc.cluster.local')).code, 3);
});

test('SRV names ports and where they are', async () => {
  const web = await ask('_http._tcp.web.default.svc.cluster.local', 'SRV');
  assert.deepEqual(web.values, [{ priority: 0, weight: 100, port: 80, target: 'web.default.svc.cluster.local' }]);
  const db = await ask('_sql._tcp.db.default.svc.cluster.local', 'SRV');
  const targets = db.values.map((value) => (value as { target: string }).target).sort();
  assert.deepEqual(targets, ['10-244-0-6.db.default.svc.cluster.local', 'db-0.db.default.svc.cluster.local']);
  assert.equal(db.additionals?.filter(({ type }) => type === 'A').length, 2);
  assert.equal((await ask('_nope._tcp.web.default.svc.cluster.local', 'SRV')).code, 3);
});

test('pods and addresses have names', async () => {
  assert.deepEqual((await ask('10-244-0-9.default.pod.cluster.local')).values, ['10.244.0.9']);
  assert.equal((await ask('web.default.pod.cluster.local')).code, 3);
  assert.deepEqual((await ask('10.0.96.10.in-addr.arpa', 'PTR')).values, ['web.default.svc.cluster.local']);
  assert.equal((await ask('10.0.96.10.in-addr.arpa')).code, 0);
  assert.deepEqual((await ask('5.0.244.10.in-addr.arpa', 'PTR')).values, ['db-0.db.default.svc.cluster.local']);
});

test('an ExternalName leads on, inside and outside', async () => {
  const out = await ask('out.default.svc.cluster.local');
  assert.deepEqual(out.types, ['CNAME', 'A']);
  assert.deepEqual(out.values, ['example.org', '192.0.2.1']);
  assert.deepEqual((await ask('inside.default.svc.cluster.local')).values, [
    'web.default.svc.cluster.local',
    '10.96.0.10',
  ]);
});

test('an answer that is too long is cut and marked, and whole over TCP or with EDNS', async () => {
  const cut = await ask('many.default.svc.cluster.local');
  assert.ok(cut.truncated);
  assert.ok(cut.answers!.length > 10 && cut.answers!.length < 100);
  const more = await ask('many.default.svc.cluster.local', 'A', { size: 4096 });
  assert.ok(more.answers!.length > cut.answers!.length);
  const whole = await ask('many.default.svc.cluster.local', 'A', { transport: 'tcp' });
  assert.equal(whole.answers!.length, 100);
  assert.ok(!whole.truncated);
});

test('other names are asked for once and kept; silence is a failure', async () => {
  const first = asked;
  assert.deepEqual((await ask('kept.example')).values, ['192.0.2.1']);
  assert.deepEqual((await ask('kept.example')).values, ['192.0.2.1']);
  assert.equal(asked, first + 1);
  assert.equal((await ask('silent.example')).code, 2);
});

test('what is no question gets a fitting answer or none', async () => {
  const send = async (message: Buffer) =>
    (
      await askDns({ host: '127.0.0.1', port: server.port }, message, { transport: 'udp', timeoutMs: 300 })
    ).readUInt16BE(2) & 15;
  const header = Buffer.from('00070100000100000000000', 'hex');
  assert.equal(await send(Buffer.concat([header, Buffer.from([0, 0xff, 0xff])])), 1);
  const update = Buffer.from(encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'x' }] }));
  update[2] = 0x28;
  assert.equal(await send(update), 4);
  await assert.rejects(send(Buffer.from([0, 7, 1])));
});

test('resolv.conf is read as resolvers read it', () => {
  assert.deepEqual(
    parseResolvConf('# nameserver 1.1.1.1\nsearch x\nnameserver 192.0.2.3 ; local\n nameserver fe80::1%eth0\n').map(
      ({ host }) => host,
    ),
    ['192.0.2.3', 'fe80::1'],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Explained } from '../../src/node/proxy-verbs/explained.ts';
import { clusterCidr, endpointAddresses, endpointPort } from '../../src/proxy/testing/packet-cases.ts';
import { LineProcess } from '../support/line-process.ts';
import { createProxyNetwork, ProxyDriver, type ProxyNetwork } from '../support/proxy-network.ts';
import {
  Random,
  type RandomPacket,
  type RandomService,
  randomPacket,
  randomService,
} from '../support/random-services.ts';

/** Packets in all; DECKHAND_EXPLAIN_PACKETS=1000 for the long run. */
const packets = Number(process.env['DECKHAND_EXPLAIN_PACKETS'] ?? 200);
/** Another one each time; DECKHAND_EXPLAIN_SEED repeats a run. */
const seed = Number(process.env['DECKHAND_EXPLAIN_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const services = 60;
/** Packets that are explained, and then sent, together. */
const together = 25;
/** Long enough for a lost SYN to be sent again on a busy machine. */
const patienceMs = 8000;
/** After this long a packet that should be dropped counts as dropped. */
const dropPatienceMs = 1000;

test('what explain says of random packets is what happens', { timeout: 600_000 }, async (t) => {
  t.diagnostic(`DECKHAND_EXPLAIN_SEED=${seed} DECKHAND_EXPLAIN_PACKETS=${packets}`);
  await using network = await createProxyNetwork();
  await using stack = new AsyncDisposableStack();
  const probers = new Map<string, LineProcess>();
  for (const [name, host] of [...network.hosts, ['node', network.node] as const])
    if (name !== 'r1') probers.set(name, stack.use(new LineProcess(host, './packet-prober.ts')));
  for (const mode of ['nftables', 'iptables'] as const)
    await t.test(mode, async (t) => {
      const random = new Random(seed);
      const all = Array.from({ length: services }, (_, index) => randomService(random, index));
      await using proxy = new ProxyDriver(network.node, { mode, detectLocal: { kind: 'cidr', cidrs: [clusterCidr] } });
      for (const { service, slice } of all) {
        proxy.send({ service });
        proxy.send({ slice });
      }
      await proxy.ask({ start: true });
      await using explainer = new LineProcess(network.node, './explain-driver.ts');
      const ends: Record<string, number> = {};
      for (let sent = 0; sent < packets / 2; ) {
        const batch = makeBatch(random, all, network, Math.min(together, packets / 2 - sent));
        sent += batch.length;
        for (const end of await checkBatch(batch, network, probers, explainer)) ends[end] = (ends[end] ?? 0) + 1;
      }
      t.diagnostic(`${mode}: ${JSON.stringify(ends)}`);
      await proxy.ask({ stop: true, remove: true });
    });
});

/** Packets of which no two are from the same client to the same place: affinity makes the second depend on the first. */
function makeBatch(
  random: Random,
  all: readonly RandomService[],
  network: ProxyNetwork,
  count: number,
): RandomPacket[] {
  const batch = new Map<string, RandomPacket>();
  while (batch.size < count) {
    const packet = randomPacket(random, all, network.addresses.get('node')!);
    batch.set(`${packet.from} ${packet.protocol} ${packet.address} ${packet.port}`, packet);
  }
  return [...batch.values()];
}

async function checkBatch(
  batch: readonly RandomPacket[],
  network: ProxyNetwork,
  probers: ReadonlyMap<string, LineProcess>,
  explainer: LineProcess,
): Promise<string[]> {
  const { explanations, error } = await explainer.ask({
    packets: batch.map(({ from, protocol, address, port }) => ({
      from: from === 'node' ? 'node' : network.addresses.get(from),
      to: `${address}:${port}/${protocol}`,
    })),
  });
  assert.equal(error, undefined);
  return Promise.all(
    batch.map(async (packet, index) => {
      const explained = explanations[index] as Explained;
      const said = `seed ${seed}: ${JSON.stringify(packet)}\n${JSON.stringify(explained, undefined, 1)}`;
      if (explained.verdict !== 'unroutable') assert.equal(explained.kernel.state, 'agrees', said);
      const waitMs = explained.verdict === 'sent' || explained.verdict === 'rejected' ? patienceMs : dropPatienceMs;
      const answer = await probers.get(packet.from)!.ask({ ...packet, waitMs });
      checkAnswer(packet, explained, answer, network, `${JSON.stringify(answer)}\n${said}`);
      return explained.reason.code;
    }),
  );
}

function checkAnswer(
  packet: RandomPacket,
  { verdict, candidates }: Explained,
  answer: { end: string; said?: string },
  network: ProxyNetwork,
  said: string,
): void {
  if (verdict === 'rejected') return assert.equal(answer.end, 'refused', said);
  if (verdict === 'dropped' || verdict === 'unroutable') return assert.equal(answer.end, 'silence', said);
  const direct = Object.entries(endpointAddresses).find(
    ([, address]) => address === packet.address && packet.port === endpointPort,
  );
  if (verdict === 'untouched' && !direct) return assert.notEqual(answer.end, 'answered', said);
  assert.equal(answer.end, 'answered', said);
  const [name, peer] = answer.said!.split(' ') as [keyof typeof endpointAddresses, string];
  if (verdict === 'untouched') return assert.equal(name, direct![0], said);
  assert.equal(verdict, 'sent', said);
  const candidate = candidates.find(({ to }) => to === `${endpointAddresses[name]}:${endpointPort}`);
  assert.ok(candidate, said);
  // The node's own packets have one of its addresses with and without masquerading.
  if (packet.from !== 'node') assert.equal(peer !== network.addresses.get(packet.from), candidate.masquerade, said);
}

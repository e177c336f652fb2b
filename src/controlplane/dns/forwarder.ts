import { randomInt } from 'node:crypto';
import { decode, encode, type Packet } from 'dns-packet';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { askDns } from '../../wire/dns/index.ts';

/** Another name server. */
export interface Upstream {
  host: string;
  port: number;
}

/** How questions are passed on. */
export interface ForwarderOptions {
  upstreams: readonly Upstream[];
  log: Logger;
  clock: Clock;
  /** For one server, milliseconds. Default 2,000. */
  timeoutMs?: number;
  /** Questions on their way at once. Default 512. */
  maximumInFlight?: number;
  /** Answers are kept for their time to live, but no longer than this, seconds. Default 30. */
  maximumTtl?: number;
}

/** Raised when no server has an answer. */
export class ForwardError extends Error {}

interface Kept {
  packet: Packet;
  at: number;
  until: number;
}

/** A server that did not answer is asked last for this long, milliseconds. */
const penaltyMs = 5_000;
const keptAnswers = 4096;
/** Types whose time to live may be counted down in a copy. */
const plainTypes = new Set(['A', 'AAAA', 'CNAME', 'PTR', 'SRV', 'TXT', 'MX', 'NS', 'SOA', 'OPT']);

/** Passes questions on to other name servers, one after another until one answers, and keeps answers for a while. */
export class Forwarder {
  readonly #options: Required<ForwarderOptions>;
  readonly #kept = new Map<string, Kept>();
  readonly #underWay = new Map<string, Promise<Buffer>>();
  readonly #failedAt = new Map<Upstream, number>();

  constructor(options: ForwarderOptions) {
    this.#options = { timeoutMs: 2_000, maximumInFlight: 512, maximumTtl: 30, ...options };
  }

  /** The answer to a message, with the message's id. @throws ForwardError */
  async forward(message: Buffer, question: { name: string; type: string }, transport: 'udp' | 'tcp'): Promise<Buffer> {
    const id = message.readUInt16BE(0);
    const key = `${question.name.toLowerCase()} ${question.type} ${transport} ${message.subarray(2, 4).toString('hex')} ${message.length}`;
    const kept = this.#recall(key);
    if (kept) return withId(kept, id);
    let answer = this.#underWay.get(key);
    if (!answer) {
      if (this.#options.upstreams.length === 0) throw new ForwardError('no name server to ask');
      if (this.#underWay.size >= this.#options.maximumInFlight)
        throw new ForwardError('too many questions on their way');
      answer = this.#ask(message, transport).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, answer);
      answer.then((reply) => this.#keep(key, reply)).catch(() => {});
    }
    return withId(await answer, id);
  }

  async #ask(message: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer> {
    const { timeoutMs, clock, log } = this.#options;
    const now = clock.monotonic();
    const penalty = (one: Upstream) =>
      now - (this.#failedAt.get(one) ?? Number.NEGATIVE_INFINITY) < penaltyMs ? 1 : 0;
    const ordered = [...this.#options.upstreams].sort((a, b) => penalty(a) - penalty(b)).slice(0, 3);
    let last: unknown;
    for (const server of ordered) {
      // Our own id: one that a client chose would be easy to guess.
      const question = withId(message, randomInt(65536));
      try {
        const answer = await askDns(server, question, { transport, timeoutMs, clock });
        this.#failedAt.delete(server);
        return answer;
      } catch (error) {
        last = error;
        this.#failedAt.set(server, clock.monotonic());
        log.debug('name server did not answer', { server: server.host, error });
      }
    }
    throw new ForwardError('no name server answered', { cause: last });
  }

  #keep(key: string, reply: Buffer): void {
    try {
      const packet = decode(reply);
      const records = [...(packet.answers ?? []), ...(packet.authorities ?? [])] as { type: string; ttl?: number }[];
      const all = [...records, ...((packet.additionals ?? []) as { type: string }[])];
      const rcode = reply.readUInt16BE(2) & 15;
      const truncated = (reply.readUInt16BE(2) & 0x200) !== 0;
      if (truncated || (rcode !== 0 && rcode !== 3) || records.length === 0) return;
      if (!all.every(({ type }) => plainTypes.has(type))) return;
      const ttl = Math.min(this.#options.maximumTtl, ...records.map((record) => record.ttl ?? 0));
      if (ttl <= 0) return;
      const at = this.#options.clock.monotonic();
      this.#kept.set(key, { packet, at, until: at + ttl * 1000 });
      if (this.#kept.size > keptAnswers) this.#kept.delete(this.#kept.keys().next().value!);
    } catch {
      // What cannot be read is passed on, but not kept.
    }
  }
  #recall(key: string): Buffer | undefined {
    const kept = this.#kept.get(key);
    if (!kept) return undefined;
    const now = this.#options.clock.monotonic();
    if (now >= kept.until) {
      this.#kept.delete(key);
      return undefined;
    }
    const passed = Math.floor((now - kept.at) / 1000);
    const older = <R extends object>(records: R[] | undefined): R[] =>
      (records ?? []).map((record) =>
        'ttl' in record && typeof record.ttl === 'number'
          ? { ...record, ttl: Math.max(0, record.ttl - passed) }
          : record,
      );
    const { packet } = kept;
    return Buffer.from(encode({ ...packet, answers: older(packet.answers), authorities: older(packet.authorities) }));
  }
}

function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** The name servers that a resolv.conf names. */
export function parseResolvConf(text: string): Upstream[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*nameserver\s+([\da-fA-F:.]+)(?:%\S+)?\s*(?:[#;].*)?$/.exec(line);
    return match ? [{ host: match[1]!, port: 53 }] : [];
  });
}

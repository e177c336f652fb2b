import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type Packet,
  type Question,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import type { Logger } from '../../log/index.ts';
import { encodeResponse } from './encode-answer.ts';
import type { Forwarder } from './forwarder.ts';
import { answerZone, type ZoneRecord, type ZoneSource } from './zone.ts';

/** What the resolver works with. */
export interface ResolverOptions {
  /** `cluster.local` */
  domain: string;
  source: ZoneSource;
  forwarder: Forwarder;
  log: Logger;
  /** Time to live of the cluster's names, and of their absence, seconds. Default 5. */
  ttl?: number;
}

/** Response codes (RFC 1035, 4.1.1). */
const codes = { success: 0, formatError: 1, serverFailure: 2, noName: 3, notImplemented: 4, refused: 5 } as const;
const recursionDesired = 0x100;
const recursionAvailable = 0x80;
const checkingDisabled = 0x10;

/** Largest answer over UDP: without EDNS as of old, with it what passes without fragments. */
const udpLimit = { plain: 512, extended: 1232 };
/** An alias leads to an alias leads to …: this often. */
const maximumAliases = 8;

interface Reply {
  code: number;
  authoritative: boolean;
  answers: Answer[];
  additionals: Answer[];
  negative: boolean;
}

/** Answers messages: names of the cluster from its objects, all others by asking on. */
export class Resolver {
  readonly #options: Required<ResolverOptions>;

  constructor(options: ResolverOptions) {
    this.#options = { ttl: 5, ...options };
  }

  /** The answer to a message; undefined for what is no question at all. Never throws. */
  async answer(message: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    if (message.length < 12 || (message[2]! & 0x80) !== 0) return undefined;
    const failed = (code: number) => headerOnly(message, code);
    if (((message[2]! >> 3) & 15) !== 0) return failed(codes.notImplemented);
    let query: Packet;
    try {
      query = decode(message);
    } catch {
      return failed(codes.formatError);
    }
    const question = query.questions?.[0];
    if (!question || query.questions!.length !== 1) return failed(codes.formatError);
    if (question.class !== 'IN' && question.class !== 'ANY') return failed(codes.refused);
    try {
      const reply = this.#answerLocally(question);
      if (reply === 'elsewhere') return await this.#forward(message, question, transport);
      const complete = reply.alias ? await this.#follow(reply, message, question, transport) : reply;
      return this.#encode(query, question, complete, transport);
    } catch (error) {
      this.#options.log.debug('question not answered', { name: question.name, type: question.type, error });
      return failed(codes.serverFailure);
    }
  }

  async #forward(message: Buffer, question: Question, transport: 'udp' | 'tcp'): Promise<Buffer> {
    try {
      return await this.#options.forwarder.forward(message, question, transport);
    } catch {
      return headerOnly(message, codes.serverFailure, question);
    }
  }

  /** Follows names inside the cluster; `alias` is a name outside that has to be asked for. */
  #answerLocally(question: Question): 'elsewhere' | (Reply & { alias?: string }) {
    const { domain, source } = this.#options;
    const reply: Reply & { alias?: string } = {
      code: 0,
      authoritative: true,
      answers: [],
      additionals: [],
      negative: false,
    };
    let name = question.name;
    for (let hop = 0; hop < maximumAliases; hop++) {
      const type = question.type as string;
      const lower = name.toLowerCase().replace(/\.$/, '');
      if (lower === domain && (type === 'SOA' || type === 'NS'))
        return { ...reply, answers: [type === 'SOA' ? this.#soa() : this.#ns()] };
      const found = answerZone(lower, type, domain, source);
      switch (found.kind) {
        case 'elsewhere':
          return hop === 0 ? 'elsewhere' : { ...reply, alias: name };
        case 'noName':
          // The alias itself is there; what it points at is not.
          return { ...reply, code: codes.noName, negative: true };
        case 'empty':
          return { ...reply, negative: true };
        case 'alias':
          reply.answers.push({ type: 'CNAME', name, ttl: this.#options.ttl, class: 'IN', data: found.target });
          if (type === 'CNAME') return reply;
          name = found.target;
          break;
        case 'records':
          reply.answers.push(...found.records.map((record) => this.#record(record, name)));
          reply.additionals.push(...found.additionals.map((record) => this.#record(record, name)));
          return reply;
      }
    }
    return { ...reply, code: codes.serverFailure };
  }

  async #follow(
    reply: Reply & { alias?: string },
    message: Buffer,
    question: Question,
    transport: 'udp' | 'tcp',
  ): Promise<Reply> {
    const asked = {
      type: 'query' as const,
      id: message.readUInt16BE(0),
      flags: recursionDesired,
      questions: [{ ...question, name: reply.alias! }],
    };
    try {
      const answer = decode(
        await this.#options.forwarder.forward(Buffer.from(encode(asked)), asked.questions[0]!, transport),
      );
      const code = (answer.flags ?? 0) & 15;
      return { ...reply, code, answers: [...reply.answers, ...(answer.answers ?? [])] };
    } catch {
      // The alias is worth something by itself.
      return { ...reply, code: codes.serverFailure };
    }
  }

  #record(record: ZoneRecord, asked: string): Answer {
    const { type, name = asked, data } = record;
    return { type, name, ttl: this.#options.ttl, class: 'IN', data } as Answer;
  }
  #soa(): Answer {
    const { domain, ttl } = this.#options;
    const data = {
      mname: `ns.dns.${domain}`,
      rname: `hostmaster.${domain}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86400,
      minimum: ttl,
    };
    return { type: 'SOA', name: domain, ttl, class: 'IN', data };
  }
  #ns(): Answer {
    const { domain, ttl } = this.#options;
    return { type: 'NS', name: domain, ttl, class: 'IN', data: `ns.dns.${domain}` };
  }

  #encode(query: Packet, question: Question, reply: Reply, transport: 'udp' | 'tcp'): Buffer {
    const extended = (query.additionals ?? []).find(({ type }) => type === 'OPT') as
      | { udpPayloadSize?: number }
      | undefined;
    const limit = !extended
      ? udpLimit.plain
      : Math.max(udpLimit.plain, Math.min(extended.udpPayloadSize ?? 0, udpLimit.extended));
    const opt = extended
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: udpLimit.extended,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          } as unknown as Answer,
        ]
      : [];
    const echoed = (query.flags ?? 0) & (recursionDesired | checkingDisabled);
    const flags = echoed | recursionAvailable | (reply.authoritative ? AUTHORITATIVE_ANSWER : 0) | reply.code;
    const authorities = reply.negative ? [this.#soa()] : [];
    const pack = (answers: Answer[], additionals: Answer[], more = 0) =>
      encodeResponse({
        id: query.id ?? 0,
        flags: flags | more,
        question,
        answers,
        authorities,
        additionals: [...additionals, ...opt],
      });
    const whole = pack(reply.answers, reply.additionals);
    if (transport === 'tcp' ? whole.length <= 65535 : whole.length <= limit) return whole;
    const lean = pack(reply.answers, []);
    if (transport === 'tcp' || lean.length <= limit) return lean;
    // As many as fit; the mark makes clients that want all ask again over TCP.
    let count = reply.answers.length;
    let cut = lean;
    while (count > 0 && cut.length > limit) {
      count = Math.floor(count * Math.min(0.95, limit / cut.length));
      cut = pack(reply.answers.slice(0, count), [], TRUNCATED_RESPONSE);
    }
    return cut;
  }
}

/** An answer without records, made from the question's bytes: works for questions that cannot be read too. */
function headerOnly(message: Buffer, code: number, question?: Question): Buffer {
  if (question) {
    const flags = (message.readUInt16BE(2) & (recursionDesired | checkingDisabled)) | recursionAvailable | code;
    return Buffer.from(encode({ type: 'response', id: message.readUInt16BE(0), flags, questions: [question] }));
  }
  const header = Buffer.alloc(12);
  message.copy(header, 0, 0, 4);
  header[2] = (header[2]! & 0x79) | 0x80;
  header[3] = recursionAvailable | code;
  return header;
}

import { type Answer, encode, type Packet, type Question } from 'dns-packet';

/** A response to be written. */
export interface Response {
  id: number;
  flags: number;
  question: Question;
  answers: readonly Answer[];
  authorities: readonly Answer[];
  additionals: readonly Answer[];
}

const typeNumbers: Record<string, number> = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, TXT: 16, AAAA: 28, SRV: 33 };

/**
 * Writes a response with its names compressed (RFC 1035, 4.1.4): a name that was written before is a pointer to it.
 * Records of types that only come from elsewhere are left to the library, which does not compress.
 */
export function encodeResponse(response: Response): Buffer {
  const { id, flags, question, answers, authorities, additionals } = response;
  const known = [...answers, ...authorities].every(({ type }) => type in typeNumbers);
  if (known) return new Writer().write(response);
  const packet: Packet = {
    type: 'response',
    id,
    flags,
    questions: [question],
    answers: [...answers],
    authorities: [...authorities],
    additionals: [...additionals],
  };
  return Buffer.from(encode(packet));
}

class Writer {
  #bytes: number[] = [];
  /** Where names begin, in lower case. */
  readonly #names = new Map<string, number>();

  write({ id, flags, question, answers, authorities, additionals }: Response): Buffer {
    this.#short(id);
    this.#short(0x8000 | flags);
    for (const count of [1, answers.length, authorities.length, additionals.length]) this.#short(count);
    // The question comes back byte for byte as it was asked, types that nobody knows included.
    const asked = Buffer.from(encode({ type: 'query', id: 0, flags: 0, questions: [question] })).subarray(12);
    this.#noteName(question.name, this.#bytes.length);
    this.#bytes.push(...asked);
    for (const record of [...answers, ...authorities, ...additionals]) this.#record(record);
    return Buffer.from(this.#bytes);
  }

  #record(record: Answer): void {
    if (record.type === 'OPT') {
      const { udpPayloadSize = 1232 } = record as { udpPayloadSize?: number };
      this.#bytes.push(0);
      for (const short of [41, udpPayloadSize, 0, 0, 0]) this.#short(short);
      return;
    }
    this.#name(record.name);
    this.#short(typeNumbers[record.type]!);
    this.#short(1);
    this.#long((record as { ttl?: number }).ttl ?? 0);
    const at = this.#bytes.length;
    this.#short(0);
    this.#data(record);
    const length = this.#bytes.length - at - 2;
    this.#bytes[at] = length >> 8;
    this.#bytes[at + 1] = length & 255;
  }

  #data(record: Answer): void {
    switch (record.type) {
      case 'A':
        this.#bytes.push(...record.data.split('.').map(Number));
        return;
      case 'AAAA':
        this.#bytes.push(...v6Bytes(record.data));
        return;
      case 'CNAME':
      case 'PTR':
      case 'NS':
        return this.#name(record.data);
      case 'TXT':
        for (const text of [record.data].flat()) {
          const bytes = Buffer.from(text as string);
          this.#bytes.push(bytes.length, ...bytes);
        }
        return;
      case 'SRV': {
        const { priority = 0, weight = 0, port, target } = record.data;
        for (const short of [priority, weight, port]) this.#short(short);
        // RFC 2782: the target is not compressed.
        return this.#name(target, false);
      }
      case 'SOA': {
        const { mname, rname, serial = 0, refresh = 0, retry = 0, expire = 0, minimum = 0 } = record.data;
        this.#name(mname);
        this.#name(rname);
        for (const long of [serial, refresh, retry, expire, minimum]) this.#long(long);
      }
    }
  }

  #name(name: string, compress = true): void {
    const labels = name.split('.').filter(Boolean);
    for (let i = 0; i < labels.length; i++) {
      const rest = labels.slice(i).join('.').toLowerCase();
      const known = this.#names.get(rest);
      if (known !== undefined && compress) return this.#short(0xc000 | known);
      if (known === undefined && this.#bytes.length < 0x3fff) this.#names.set(rest, this.#bytes.length);
      const bytes = Buffer.from(labels[i]!);
      this.#bytes.push(bytes.length, ...bytes);
    }
    this.#bytes.push(0);
  }
  #noteName(name: string, offset: number): void {
    const labels = name.split('.').filter(Boolean);
    let at = offset;
    for (let i = 0; i < labels.length; i++) {
      this.#names.set(labels.slice(i).join('.').toLowerCase(), at);
      at += Buffer.byteLength(labels[i]!) + 1;
    }
  }
  #short(value: number): void {
    this.#bytes.push((value >> 8) & 255, value & 255);
  }
  #long(value: number): void {
    this.#short(Math.floor(value / 65536));
    this.#short(value & 65535);
  }
}

function v6Bytes(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const groups = (part: string | undefined) => (part ? part.split(':') : []);
  const missing = tail === undefined ? 0 : 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array<string>(Math.max(0, missing)).fill('0'), ...groups(tail)];
  return all.flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}

/** A D-Bus value: numbers for the integer types, bigint for 64 bits, `{ signature, value }` for a variant. */
export type BusValue = string | number | bigint | boolean | BusValue[] | { signature: string; value: BusValue };

const alignments: Record<string, number> = {
  ...{ y: 1, b: 4, n: 2, q: 2, i: 4, u: 4, h: 4, x: 8, t: 8, d: 8 },
  ...{ s: 4, o: 4, g: 1, v: 1, a: 4, '(': 8, '{': 8 },
};

/** The length of the first complete type of a signature. @throws Error when there is none */
export function typeLength(signature: string, at = 0): number {
  const first = signature[at];
  if (first === undefined || alignments[first] === undefined)
    throw new Error(`${JSON.stringify(signature)} is no D-Bus signature`);
  if (first === 'a') return 1 + typeLength(signature, at + 1);
  if (first !== '(' && first !== '{') return 1;
  const close = first === '(' ? ')' : '}';
  let end = at + 1;
  while (signature[end] !== close) end += typeLength(signature, end);
  return end + 1 - at;
}

/** The complete types of a signature. */
export function splitSignature(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const length = typeLength(signature, at);
    types.push(signature.slice(at, at + length));
    at += length;
  }
  return types;
}

/** Writes values in the order of bytes of this machine (little-endian), each aligned as its type wants it. */
export class BusWriter {
  #bytes = Buffer.alloc(256);
  #length = 0;

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  align(to: number): void {
    while (this.#length % to !== 0) this.#room(1).writeUInt8(0, this.#length++);
  }

  /** Values of a signature, one for each of its complete types. */
  write(signature: string, values: readonly BusValue[]): void {
    for (const [at, type] of splitSignature(signature).entries()) this.#value(type, values[at]!);
  }

  #room(count: number): Buffer {
    if (this.#length + count > this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length + count)]);
    return this.#bytes;
  }

  #value(type: string, value: BusValue): void {
    const [kind] = type;
    this.align(alignments[kind!]!);
    if (kind === 's' || kind === 'o' || kind === 'g') return this.#text(String(value), kind === 'g');
    if (kind === 'a') return this.#array(type.slice(1), value as BusValue[]);
    if (kind === '(' || kind === '{') return this.write(type.slice(1, -1), value as BusValue[]);
    if (kind === 'v') {
      const variant = value as { signature: string; value: BusValue };
      this.#text(variant.signature, true);
      return this.#value(variant.signature, variant.value);
    }
    if (kind === 'x') this.#length = this.#room(8).writeBigInt64LE(BigInt(value as bigint), this.#length);
    else if (kind === 't') this.#length = this.#room(8).writeBigUInt64LE(BigInt(value as bigint), this.#length);
    else if (kind === 'd') this.#length = this.#room(8).writeDoubleLE(Number(value), this.#length);
    else if (kind === 'y') this.#length = this.#room(1).writeUInt8(Number(value), this.#length);
    else if (kind === 'n') this.#length = this.#room(2).writeInt16LE(Number(value), this.#length);
    else if (kind === 'q') this.#length = this.#room(2).writeUInt16LE(Number(value), this.#length);
    else if (kind === 'i') this.#length = this.#room(4).writeInt32LE(Number(value), this.#length);
    else this.#length = this.#room(4).writeUInt32LE(Number(value), this.#length);
  }

  #text(text: string, short: boolean): void {
    const bytes = Buffer.from(text);
    this.#room(bytes.length + 5);
    this.#length = short
      ? this.#bytes.writeUInt8(bytes.length, this.#length)
      : this.#bytes.writeUInt32LE(bytes.length, this.#length);
    this.#length += bytes.copy(this.#bytes, this.#length);
    this.#length = this.#bytes.writeUInt8(0, this.#length);
  }

  #array(item: string, values: readonly BusValue[]): void {
    const at = this.#length;
    this.#length = this.#room(4).writeUInt32LE(0, at);
    this.align(alignments[item[0]!]!);
    const start = this.#length;
    for (const value of values) this.#value(item, value);
    this.#bytes.writeUInt32LE(this.#length - start, at);
  }
}

/** Reads values. @throws Error when the bytes end too early */
export class BusReader {
  readonly #bytes: Buffer;
  #at: number;
  readonly #little: boolean;

  constructor(bytes: Buffer, little = true, at = 0) {
    this.#bytes = bytes;
    this.#little = little;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  align(to: number): void {
    this.#at = Math.ceil(this.#at / to) * to;
  }

  read(signature: string): BusValue[] {
    return splitSignature(signature).map((type) => this.#value(type));
  }

  #value(type: string): BusValue {
    const [kind] = type;
    this.align(alignments[kind!]!);
    if (kind === 's' || kind === 'o' || kind === 'g') return this.#text(kind === 'g');
    if (kind === '(' || kind === '{') return this.read(type.slice(1, -1));
    if (kind === 'v') {
      const signature = this.#text(true);
      return { signature, value: this.#value(signature) };
    }
    if (kind === 'a') {
      const length = this.#unsigned();
      this.align(alignments[type[1]!]!);
      const end = this.#at + length;
      const values: BusValue[] = [];
      while (this.#at < end) values.push(this.#value(type.slice(1)));
      return values;
    }
    return this.#number(kind!);
  }

  #number(kind: string): BusValue {
    const bytes = this.#bytes;
    const at = this.#at;
    const little = this.#little;
    this.#at += alignments[kind]!;
    if (kind === 'y') return bytes.readUInt8(at);
    if (kind === 'b') return (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)) !== 0;
    if (kind === 'n') return little ? bytes.readInt16LE(at) : bytes.readInt16BE(at);
    if (kind === 'q') return little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
    if (kind === 'i') return little ? bytes.readInt32LE(at) : bytes.readInt32BE(at);
    if (kind === 'x') return little ? bytes.readBigInt64LE(at) : bytes.readBigInt64BE(at);
    if (kind === 't') return little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at);
    if (kind === 'd') return little ? bytes.readDoubleLE(at) : bytes.readDoubleBE(at);
    return little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }

  #unsigned(): number {
    this.align(4);
    const value = this.#little ? this.#bytes.readUInt32LE(this.#at) : this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  #text(short: boolean): string {
    const length = short ? this.#bytes.readUInt8(this.#at++) : this.#unsigned();
    const text = this.#bytes.toString('utf8', this.#at, this.#at + length);
    this.#at += length + 1;
    return text;
  }
}

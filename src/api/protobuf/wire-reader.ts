/** A protobuf message that cannot be read. */
export class ProtobufError extends Error {}

const textDecoder = new TextDecoder();

/** Reads protobuf's wire format. */
export class WireReader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  /** Field number and wire type of what follows. */
  tag(): { field: number; wire: number } {
    const value = Number(this.varint());
    if (value < 8) throw new ProtobufError('invalid protobuf field number');
    return { field: Math.floor(value / 8), wire: value % 8 };
  }

  /** An unsigned 64-bit number. */
  varint(): bigint {
    let low = 0;
    let shift = 0;
    // Most are small: stay with numbers as long as they are exact.
    for (; shift < 28; shift += 7) {
      const byte = this.#byte();
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt(low);
    }
    let value = BigInt(low);
    for (let wide = 28n; wide < 70n; wide += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << wide;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new ProtobufError('invalid protobuf number');
  }

  /** A signed 64-bit number; exact to 2^53. */
  integer(): number {
    return Number(BigInt.asIntN(64, this.varint()));
  }

  double(): number {
    const start = this.#take(8);
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset).getFloat64(start, true);
  }

  bytes(): Uint8Array {
    const length = Number(this.varint());
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  text(): string {
    return textDecoder.decode(this.bytes());
  }

  /** Passes over a value of the wire type. */
  skip(wire: number): void {
    if (wire === 0) this.varint();
    else if (wire === 1) this.#take(8);
    else if (wire === 2) this.bytes();
    else if (wire === 5) this.#take(4);
    else throw new ProtobufError(`invalid protobuf wire type ${wire}`);
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new ProtobufError('unexpected end of protobuf message');
    return this.#bytes[this.#at++]!;
  }

  #take(length: number): number {
    const start = this.#at;
    if (!(length >= 0 && start + length <= this.#end)) throw new ProtobufError('unexpected end of protobuf message');
    this.#at += length;
    return start;
  }
}

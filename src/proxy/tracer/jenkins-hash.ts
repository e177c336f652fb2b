/** Bob Jenkins' lookup3 over bytes, as the kernel's jhash(): what an nftables `jhash` expression computes. 32 bits. */
export function jenkinsHash(key: Uint8Array, seed: number): number {
  const view = Buffer.from(key);
  const start = (0xdeadbeef + key.length + seed) >>> 0;
  let [a, b, c] = [start, start, start];
  let at = 0;
  let left = view.length;
  while (left > 12) {
    a = (a + view.readUInt32LE(at)) >>> 0;
    b = (b + view.readUInt32LE(at + 4)) >>> 0;
    c = (c + view.readUInt32LE(at + 8)) >>> 0;
    [a, b, c] = mix(a, b, c);
    at += 12;
    left -= 12;
  }
  if (left === 0) return c;
  const tail = Buffer.alloc(12);
  view.copy(tail, 0, at);
  a = (a + tail.readUInt32LE(0)) >>> 0;
  b = (b + tail.readUInt32LE(4)) >>> 0;
  c = (c + tail.readUInt32LE(8)) >>> 0;
  return final(a, b, c);
}

const rotate = (value: number, bits: number): number => ((value << bits) | (value >>> (32 - bits))) >>> 0;
const minus = (x: number, y: number): number => (x - y) >>> 0;
const plus = (x: number, y: number): number => (x + y) >>> 0;

function mix(x: number, y: number, z: number): [number, number, number] {
  let [a, b, c] = [x, y, z];
  a = (minus(a, c) ^ rotate(c, 4)) >>> 0;
  c = plus(c, b);
  b = (minus(b, a) ^ rotate(a, 6)) >>> 0;
  a = plus(a, c);
  c = (minus(c, b) ^ rotate(b, 8)) >>> 0;
  b = plus(b, a);
  a = (minus(a, c) ^ rotate(c, 16)) >>> 0;
  c = plus(c, b);
  b = (minus(b, a) ^ rotate(a, 19)) >>> 0;
  a = plus(a, c);
  c = (minus(c, b) ^ rotate(b, 4)) >>> 0;
  b = plus(b, a);
  return [a, b, c];
}

function final(x: number, y: number, z: number): number {
  let [a, b, c] = [x, y, z];
  c = minus((c ^ b) >>> 0, rotate(b, 14));
  a = minus((a ^ c) >>> 0, rotate(c, 11));
  b = minus((b ^ a) >>> 0, rotate(a, 25));
  c = minus((c ^ b) >>> 0, rotate(b, 16));
  a = minus((a ^ c) >>> 0, rotate(c, 4));
  b = minus((b ^ a) >>> 0, rotate(a, 14));
  return minus((c ^ b) >>> 0, rotate(b, 24));
}

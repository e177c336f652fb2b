const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const dotted = new RegExp(`^${octet}(?:\\.${octet}){3}$`);

/** Whether the text is an IPv4 address in dotted form, without leading zeros. */
export function isIPv4(text: string): boolean {
  return dotted.test(text);
}

/** Whether the text is an IPv6 address, without a zone. */
export function isIPv6(text: string): boolean {
  const [head, tail, ...more] = text.split('::');
  if (more.length > 0 || head === undefined || !text.includes(':')) return false;
  let words = 0;
  const parts = [head, tail].flatMap((part) => (part ? part.split(':') : []));
  for (const [index, part] of parts.entries()) {
    const embedded = index === parts.length - 1 && part.includes('.');
    if (embedded ? !isIPv4(part) : !/^[0-9a-f]{1,4}$/i.test(part)) return false;
    words += embedded ? 2 : 1;
  }
  return tail === undefined ? words === 8 && head !== '' : words < 8;
}

/** The bytes of an IP address: 4 or 16. @throws RangeError */
export function ipToBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text)) throw new RangeError(`${JSON.stringify(text)} is not an IP address`);
  const [head = '', tail] = text.split('::');
  const words = (part: string): number[] =>
    part === ''
      ? []
      : part.split(':').flatMap((word) => {
          if (!word.includes('.')) return [Number.parseInt(word, 16)];
          const [a, b, c, d] = word.split('.').map(Number) as [number, number, number, number];
          return [(a << 8) | b, (c << 8) | d];
        });
  const front = words(head);
  const back = tail === undefined ? [] : words(tail);
  const bytes = Buffer.alloc(16);
  for (const [index, word] of front.entries()) bytes.writeUInt16BE(word, index * 2);
  for (const [index, word] of back.entries()) bytes.writeUInt16BE(word, 16 - (back.length - index) * 2);
  return bytes;
}

/** The text of 4 or 16 bytes of address; IPv6 in its canonical short form (RFC 5952). */
export function bytesToIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const view = Buffer.from(bytes);
  const words = Array.from({ length: 8 }, (_, index) => view.readUInt16BE(index * 2));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && words[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: number[]) => part.map((word) => word.toString(16)).join(':');
  if (best.start < 0) return hex(words);
  return `${hex(words.slice(0, best.start))}::${hex(words.slice(best.start + best.length))}`;
}

/** Splits `address/length`. @throws RangeError */
export function parsePrefix(text: string): { bytes: Buffer; prefixLength: number } {
  const [address = '', length] = text.split('/');
  const bytes = ipToBytes(address);
  const prefixLength = length === undefined ? bytes.length * 8 : Number(length);
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > bytes.length * 8)
    throw new RangeError(`${JSON.stringify(text)} is not an address with a prefix length`);
  return { bytes, prefixLength };
}

/** Whether an address is within `address/length`; one of the other family never is. @throws RangeError when either is none */
export function isInPrefix(address: string, prefix: string): boolean {
  const { bytes, prefixLength } = parsePrefix(prefix);
  const own = ipToBytes(address);
  if (own.length !== bytes.length) return false;
  const whole = prefixLength >> 3;
  if (!own.subarray(0, whole).equals(bytes.subarray(0, whole))) return false;
  const rest = prefixLength & 7;
  return rest === 0 || own[whole]! >> (8 - rest) === bytes[whole]! >> (8 - rest);
}

import { BusReader, type BusValue, BusWriter } from './values.ts';

/** Kinds of messages, by their numbers. */
export const messageTypes = { call: 1, reply: 2, error: 3, signal: 4 } as const;

/** A message of the bus (D-Bus specification, "Message protocol"). */
export interface BusMessage {
  type: keyof typeof messageTypes;
  serial: number;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  /** The serial that this answers. */
  replyTo?: number;
  destination?: string;
  sender?: string;
  signature: string;
  body: BusValue[];
  /** Descriptors that came with it; `h` values are their places. */
  descriptors: number[];
}

const fields = {
  path: [1, 'o'],
  interface: [2, 's'],
  member: [3, 's'],
  errorName: [4, 's'],
  replyTo: [5, 'u'],
  destination: [6, 's'],
  sender: [7, 's'],
} as const;

/** The bytes of a message. */
export function encodeMessage(message: Omit<BusMessage, 'sender'>): Buffer {
  const body = new BusWriter();
  body.write(message.signature, message.body);
  const header: BusValue[] = [];
  for (const [name, [code, signature]] of Object.entries(fields)) {
    const value = (message as unknown as Record<string, BusValue | undefined>)[name];
    if (value !== undefined) header.push([code, { signature, value }]);
  }
  if (message.signature !== '') header.push([8, { signature: 'g', value: message.signature }]);
  if (message.descriptors.length > 0) header.push([9, { signature: 'u', value: message.descriptors.length }]);
  const writer = new BusWriter();
  const order = 'l'.charCodeAt(0);
  writer.write('yyyyuua(yv)', [order, messageTypes[message.type], 0, 1, body.bytes.length, message.serial, header]);
  writer.align(8);
  return Buffer.concat([writer.bytes, body.bytes]);
}

/** The length of the message that these bytes begin; undefined when that cannot be said yet. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < 16) return undefined;
  const reader = new BusReader(bytes, bytes[0] === 'l'.charCodeAt(0), 4);
  const [body, , header] = reader.read('uuu') as [number, number, number];
  return Math.ceil((16 + header) / 8) * 8 + body;
}

/** Reads one whole message. `take` gives so many of the descriptors that have come. */
export function decodeMessage(bytes: Buffer, take: (count: number) => number[]): BusMessage {
  const little = bytes[0] === 'l'.charCodeAt(0);
  const reader = new BusReader(bytes, little);
  const [, type, , , , serial, header] = reader.read('yyyyuua(yv)') as [
    number,
    number,
    number,
    number,
    number,
    number,
    [number, { value: BusValue }][],
  ];
  reader.align(8);
  const found = new Map(header.map(([code, { value }]) => [code, value]));
  const signature = (found.get(8) as string | undefined) ?? '';
  const names = Object.entries(fields).flatMap(([name, [code]]) => (found.has(code) ? [[name, found.get(code)]] : []));
  return {
    type: (Object.keys(messageTypes) as BusMessage['type'][]).find((name) => messageTypes[name] === type) ?? 'signal',
    serial,
    ...Object.fromEntries(names),
    signature,
    // The body is aligned from its own beginning.
    body: new BusReader(bytes.subarray(reader.at), little).read(signature),
    descriptors: take(Number(found.get(9) ?? 0)),
  };
}

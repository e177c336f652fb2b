import { attributeString, eachAttribute, MessageWriter, readAttributes } from '../netlink/index.ts';
import { verdictCode } from './constants.ts';
import type { Expression, Register } from './expressions.ts';
import type { Verdict } from './types.ts';

/** Facts of a packet, by the kernel's number for them (enum nft_meta_keys). */
const metaNames: Record<number, string> = {
  0: 'length',
  1: 'protocol',
  3: 'mark',
  4: 'iif',
  5: 'oif',
  6: 'iifname',
  7: 'oifname',
  10: 'skuid',
  11: 'skgid',
  12: 'nftrace',
  15: 'nfproto',
  16: 'l4proto',
  20: 'pkttype',
};

/** Facts of a connection (enum nft_ct_keys). */
const conntrackNames: Record<number, string> = {
  0: 'state',
  1: 'direction',
  2: 'status',
  3: 'mark',
  8: 'source',
  9: 'destination',
  10: 'protocol',
  11: 'source-port',
  12: 'destination-port',
  19: 'source',
  20: 'destination',
  21: 'source',
  22: 'destination',
};

/** One step of a rule, read back from the bytes that the kernel takes and gives. Registers count four bytes each, from 0. */
export type DecodedExpression =
  | { name: 'payload'; to: Register; base: 'link' | 'network' | 'transport'; offset: number; length: number }
  | { name: 'meta'; key: string; to: Register }
  | { name: 'set-meta'; key: string; from: Register }
  | { name: 'ct'; key: string; to: Register }
  | { name: 'fib'; of: 'source' | 'destination'; result: 'type' | 'other'; to: Register }
  | { name: 'immediate'; to: Register; value: Buffer }
  | { name: 'verdict'; verdict: Verdict }
  | { name: 'number'; kind: 'random' | 'incremental'; to: Register; modulus: number; offset: number }
  | {
      name: 'hash';
      kind: 'jenkins' | 'symmetric';
      from: Register;
      length: number;
      to: Register;
      modulus: number;
      seed: number;
      offset: number;
    }
  | { name: 'compare'; from: Register; how: 'equal' | 'not' | 'less' | 'at-most' | 'more' | 'at-least'; value: Buffer }
  | { name: 'range'; from: Register; invert: boolean; first: Buffer; last: Buffer }
  | { name: 'bitwise'; from: Register; to: Register; mask: Buffer; xor: Buffer }
  | { name: 'lookup'; set: string; key: Register; to?: Register; verdict: boolean; invert: boolean }
  | { name: 'change-element'; set: string; key: Register; value?: Register; timeoutMs?: number }
  | { name: 'nat'; kind: 'destination' | 'source'; address?: Register; port?: Register }
  | { name: 'masquerade' }
  | { name: 'reject' }
  | { name: 'counter'; packets: bigint; bytes: bigint }
  | { name: 'log' }
  | { name: 'unknown'; kind: string };

const comparisons = ['equal', 'not', 'less', 'at-most', 'more', 'at-least'] as const;
const verdictNames = new Map(Object.entries(verdictCode).map(([name, code]) => [code as number, name]));

type Attributes = Map<number, Buffer>;
type Decoder = (attributes: Attributes) => DecodedExpression;

const number = (attributes: Attributes, type: number): number => attributes.get(type)?.readUInt32BE(0) ?? 0;
const data = (attributes: Attributes, type: number): Buffer => {
  const nested = attributes.get(type);
  return (nested && readAttributes(nested).get(1)) ?? Buffer.alloc(0);
};
/** The kernel names registers in two ways: 1 to 4 of sixteen bytes, 8 to 23 of four. */
const register = (attributes: Attributes, type: number): Register => {
  const value = number(attributes, type);
  return value >= 8 ? value - 8 : (value - 1) * 4;
};
const optionalRegister = (attributes: Attributes, type: number): Register | undefined =>
  attributes.has(type) ? register(attributes, type) : undefined;

const decoders: Record<string, Decoder> = {
  payload: (all) => ({
    name: 'payload',
    to: register(all, 1),
    base: (['link', 'network', 'transport'] as const)[number(all, 2)] ?? 'link',
    offset: number(all, 3),
    length: number(all, 4),
  }),
  meta: (all) => {
    const key = metaNames[number(all, 2)] ?? `key ${number(all, 2)}`;
    return all.has(3) ? { name: 'set-meta', key, from: register(all, 3) } : { name: 'meta', key, to: register(all, 1) };
  },
  ct: (all) =>
    all.has(1)
      ? { name: 'ct', key: conntrackNames[number(all, 2)] ?? `key ${number(all, 2)}`, to: register(all, 1) }
      : { name: 'unknown', kind: 'ct set' },
  fib: (all) => ({
    name: 'fib',
    to: register(all, 1),
    result: number(all, 2) === 3 ? 'type' : 'other',
    of: number(all, 3) & 1 ? 'source' : 'destination',
  }),
  immediate: (all) => {
    const nested = readAttributes(all.get(2) ?? Buffer.alloc(0));
    const verdict = nested.get(2);
    return verdict
      ? { name: 'verdict', verdict: readVerdict(verdict) }
      : { name: 'immediate', to: register(all, 1), value: nested.get(1) ?? Buffer.alloc(0) };
  },
  numgen: (all) => ({
    name: 'number',
    to: register(all, 1),
    modulus: number(all, 2),
    kind: number(all, 3) === 1 ? 'random' : 'incremental',
    offset: number(all, 4),
  }),
  hash: (all) => ({
    name: 'hash',
    from: register(all, 1),
    to: register(all, 2),
    length: number(all, 3),
    modulus: number(all, 4),
    seed: number(all, 5),
    offset: number(all, 6),
    kind: number(all, 7) === 1 ? 'symmetric' : 'jenkins',
  }),
  cmp: (all) => ({
    name: 'compare',
    from: register(all, 1),
    how: comparisons[number(all, 2)] ?? 'equal',
    value: data(all, 3),
  }),
  range: (all) => ({
    name: 'range',
    from: register(all, 1),
    invert: number(all, 2) === 1,
    first: data(all, 3),
    last: data(all, 4),
  }),
  bitwise: (all) =>
    number(all, 6) === 0
      ? { name: 'bitwise', from: register(all, 1), to: register(all, 2), mask: data(all, 4), xor: data(all, 5) }
      : { name: 'unknown', kind: 'bitwise shift' },
  lookup: (all) => ({
    name: 'lookup',
    set: attributeString(all.get(1)),
    key: register(all, 2),
    verdict: all.has(3) && number(all, 3) === 0,
    to: all.has(3) && number(all, 3) !== 0 ? register(all, 3) : undefined,
    invert: (number(all, 5) & 1) !== 0,
  }),
  dynset: (all) => ({
    name: 'change-element',
    set: attributeString(all.get(1)),
    key: register(all, 4),
    value: optionalRegister(all, 5),
    timeoutMs: all.has(6) ? Number(all.get(6)!.readBigUInt64BE(0)) : undefined,
  }),
  nat: (all) => ({
    name: 'nat',
    kind: number(all, 1) === 1 ? 'destination' : 'source',
    address: optionalRegister(all, 3),
    port: optionalRegister(all, 5),
  }),
  masq: () => ({ name: 'masquerade' }),
  reject: () => ({ name: 'reject' }),
  counter: (all) => ({
    name: 'counter',
    bytes: all.get(1)?.readBigUInt64BE(0) ?? 0n,
    packets: all.get(2)?.readBigUInt64BE(0) ?? 0n,
  }),
  log: () => ({ name: 'log' }),
};

/** Reads the steps of a rule as the kernel gives them (the list in NFTA_RULE_EXPRESSIONS). */
export function decodeExpressions(list: Buffer): DecodedExpression[] {
  const decoded: DecodedExpression[] = [];
  for (const [, element] of eachAttribute(list)) {
    const attributes = readAttributes(element);
    const kind = attributeString(attributes.get(1));
    const decode = decoders[kind];
    decoded.push(decode ? decode(readAttributes(attributes.get(2) ?? Buffer.alloc(0))) : { name: 'unknown', kind });
  }
  return decoded;
}

/** Reads the steps of a rule that has not been sent yet, from the very bytes that would be sent. */
export function decodeSteps(steps: readonly Expression[]): DecodedExpression[] {
  const writer = new MessageWriter();
  writer.begin(0);
  for (const write of steps) write(writer);
  return decodeExpressions(writer.finish().subarray(16));
}

/** Reads a verdict of a rule or of a verdict map's element. */
export function readVerdict(bytes: Buffer): Verdict {
  const attributes = readAttributes(bytes);
  const code = verdictNames.get(attributes.get(1)?.readInt32BE(0) ?? 0) as Verdict['code'];
  const chain = attributes.get(2);
  return (chain ? { code, chain: attributeString(chain) } : { code }) as Verdict;
}

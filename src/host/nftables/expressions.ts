import type { MessageWriter } from '../netlink/index.ts';
import { nftFamily, verdictCode } from './constants.ts';
import type { Verdict } from './types.ts';

/** One step of a rule: writes itself as an element of an expression list. */
export type Expression = (writer: MessageWriter) => void;

/** A four-byte register, 0 to 15. Fields of a concatenation lie in registers next to each other. */
export type Register = number;

const list = { element: 1 } as const;
const firstRegister = 8;

function expression(name: string, write: (writer: MessageWriter) => void): Expression {
  return (writer) =>
    writer.nest(list.element, () => {
      writer.string(1, name);
      writer.nest(2, () => write(writer));
    });
}
const register = (number: Register): number => firstRegister + number;

/** Loads bytes of the IP header (`network`) or of the TCP, UDP or SCTP header (`transport`). */
export function loadPayload(
  to: Register,
  from: { base: 'network' | 'transport'; offset: number; length: number },
): Expression {
  return expression('payload', (writer) =>
    writer
      .be32(1, register(to))
      .be32(2, from.base === 'network' ? 1 : 2)
      .be32(3, from.offset)
      .be32(4, from.length),
  );
}

const metaKeys = { mark: 3, iifname: 6, oifname: 7, l4proto: 16, nfproto: 15, iif: 4 } as const;

/** Loads a fact about the packet. */
export function loadMeta(to: Register, key: keyof typeof metaKeys): Expression {
  return expression('meta', (writer) => writer.be32(2, metaKeys[key]).be32(1, register(to)));
}
/** Sets the packet's mark from a register. */
export function setMark(from: Register): Expression {
  return expression('meta', (writer) => writer.be32(2, metaKeys.mark).be32(3, register(from)));
}

const conntrackKeys = { state: 0, status: 2 } as const;

/** Loads a fact about the packet's connection. State bits: invalid 1, established 2, related 4, new 8. Status bit 5: DNAT. */
export function loadConntrack(to: Register, key: keyof typeof conntrackKeys): Expression {
  return expression('ct', (writer) => writer.be32(2, conntrackKeys[key]).be32(1, register(to)));
}

/** Loads the kind of the packet's destination or source address from the routing tables: 2 is local, 1 unicast. */
export function loadAddressType(to: Register, of: 'source' | 'destination'): Expression {
  return expression('fib', (writer) =>
    writer
      .be32(1, register(to))
      .be32(2, 3)
      .be32(3, of === 'source' ? 1 : 2),
  );
}

/** Loads the destination address that the connection's first packet had before any translation. */
export function loadOriginalDestination(to: Register, family: 'ip' | 'ip6'): Expression {
  return expression('ct', (writer) =>
    writer
      .be32(2, family === 'ip' ? 20 : 22)
      .be32(1, register(to))
      .u8(3, 0),
  );
}
/** Loads the destination port that the connection's first packet had before any translation. */
export function loadOriginalPort(to: Register): Expression {
  return expression('ct', (writer) => writer.be32(2, 12).be32(1, register(to)).u8(3, 0));
}

/** Puts constant bytes into registers. */
export function loadImmediate(to: Register, value: Buffer): Expression {
  return expression('immediate', (writer) => writer.be32(1, register(to)).nest(2, () => writer.attribute(1, value)));
}

/** Puts a random number in `offset` to `offset + modulus - 1` into a register, in the machine's byte order. */
export function loadRandom(to: Register, modulus: number, offset = 0): Expression {
  return expression('numgen', (writer) => {
    writer.be32(1, register(to)).be32(2, modulus).be32(3, 1);
    if (offset > 0) writer.be32(4, offset);
  });
}

/** Goes on when the registers hold (or, with `not`, do not hold) these bytes. */
export function compare(from: Register, value: Buffer, how: 'equal' | 'not' = 'equal'): Expression {
  return expression('cmp', (writer) =>
    writer
      .be32(1, register(from))
      .be32(2, how === 'equal' ? 0 : 1)
      .nest(3, () => writer.attribute(1, value)),
  );
}

/** register = (register & mask) ^ xor */
export function bitwise(at: Register, mask: Buffer, xor: Buffer): Expression {
  return expression('bitwise', (writer) => {
    writer.be32(1, register(at)).be32(2, register(at)).be32(3, mask.length);
    writer.nest(4, () => writer.attribute(1, mask)).nest(5, () => writer.attribute(1, xor));
  });
}

/** Goes on when the key is in the set (or, inverted, when it is not); with `to`, loads the map's value there. */
export function lookup(set: string, key: Register, options: { to?: Register; invert?: boolean } = {}): Expression {
  return expression('lookup', (writer) => {
    writer.string(1, set).be32(2, register(key));
    if (options.to !== undefined) writer.be32(3, register(options.to));
    if (options.invert) writer.be32(5, 1);
  });
}
/** Does what a verdict map says of the key; goes on when the key is not in it. */
export function lookupVerdict(map: string, key: Register): Expression {
  return expression('lookup', (writer) => writer.string(1, map).be32(2, register(key)).be32(3, 0));
}

/** Adds, refreshes or deletes an element of a dynamic map, from the packet's path. */
export function changeElement(
  operation: 'add' | 'update' | 'delete',
  map: string,
  key: Register,
  options: { value?: Register; timeoutMs?: number } = {},
): Expression {
  const code = { add: 0, update: 1, delete: 2 }[operation];
  return expression('dynset', (writer) => {
    writer.string(1, map).be32(3, code).be32(4, register(key));
    if (options.value !== undefined) writer.be32(5, register(options.value));
    if (options.timeoutMs !== undefined) writer.be64(6, BigInt(options.timeoutMs));
  });
}

/** Sends the connection to the address and port in the registers. */
export function destinationNat(family: 'ip' | 'ip6', address: Register, port: Register): Expression {
  return expression('nat', (writer) =>
    writer.be32(1, 1).be32(2, nftFamily[family]).be32(3, register(address)).be32(5, register(port)).be32(7, 0x2),
  );
}

/** Gives the connection this machine's address as its source, with a fully random port if asked. */
export function masquerade(options: { fullyRandom?: boolean } = {}): Expression {
  return expression('masq', (writer) => {
    if (options.fullyRandom) writer.be32(1, 0x10);
  });
}

/** Answers that the port is closed: ICMP port unreachable. */
export function rejectPort(family: 'ip' | 'ip6'): Expression {
  return expression('reject', (writer) => writer.be32(1, 0).u8(2, family === 'ip' ? 3 : 4));
}

/** Ends the rule. */
export function verdict(to: Verdict): Expression {
  return expression('immediate', (writer) =>
    writer.be32(1, 0).nest(2, () => writer.nest(2, () => writeVerdict(writer, to))),
  );
}

/** Counts packets and bytes that come this far. */
export function counter(): Expression {
  return expression('counter', (writer) => writer.be64(1, 0n).be64(2, 0n));
}

/** Writes the attributes of a verdict. */
export function writeVerdict(writer: MessageWriter, to: Verdict): void {
  writer.be32(1, verdictCode[to.code]);
  if ('chain' in to) writer.string(2, to.chain);
}

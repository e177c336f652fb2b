import { ipToBytes } from '../../../host/netlink/index.ts';
import type { FieldType } from '../../../host/nftables/index.ts';
import type { IpFamily, Protocol } from '../../model/types.ts';

/** Numbers of the IP protocols. */
export const protocolNumber: Record<Protocol, number> = { TCP: 6, UDP: 17, SCTP: 132 };

/** What differs between the IP families in the table. */
export interface FamilyFacts {
  family: 'ip' | 'ip6';
  addressType: FieldType;
  /** Bytes, and four-byte registers, of an address. */
  addressBytes: number;
  addressRegisters: number;
  sourceOffset: number;
  destinationOffset: number;
}

export const familyFacts: Record<IpFamily, FamilyFacts> = {
  4: {
    family: 'ip',
    addressType: 'ipv4_addr',
    addressBytes: 4,
    addressRegisters: 1,
    sourceOffset: 12,
    destinationOffset: 16,
  },
  6: {
    family: 'ip6',
    addressType: 'ipv6_addr',
    addressBytes: 16,
    addressRegisters: 4,
    sourceOffset: 8,
    destinationOffset: 24,
  },
};

/** The key of a frontend, in the bytes the kernel compares: address . protocol . port, or protocol . port of a node port. */
export function frontendBytes(facts: FamilyFacts, address: string, protocol: Protocol, port: number): Buffer {
  const start = address === '' ? 0 : facts.addressBytes;
  const key = Buffer.alloc(start + 8);
  if (start > 0) ipToBytes(address).copy(key);
  key[start] = protocolNumber[protocol];
  key.writeUInt16BE(port, start + 4);
  return key;
}

/** A destination: address . port. */
export function destinationBytes(facts: FamilyFacts, address: string, port: number): Buffer {
  const value = Buffer.alloc(facts.addressBytes + 4);
  ipToBytes(address).copy(value);
  value.writeUInt16BE(port, facts.addressBytes);
  return value;
}

/** A key with the number of a slot behind it. Random numbers are in the machine's byte order. */
export function slotBytes(frontend: Buffer, slot: number): Buffer {
  const key = Buffer.alloc(frontend.length + 4);
  frontend.copy(key);
  key.writeUInt32LE(slot, frontend.length);
  return key;
}

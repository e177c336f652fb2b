import { bytesToIp } from '../../host/netlink/index.ts';
import { familyFacts, protocolNumber } from '../backends/nftables/keys.ts';
import { declareSets } from '../backends/nftables/layout.ts';
import type { IpFamily } from '../model/types.ts';

const protocols = new Map(Object.entries(protocolNumber).map(([name, number]) => [number, name]));

/** A key of one of the table's sets for people: `10.96.0.1 . TCP . 80 . 2`. */
export function describeKey(set: string, key: Buffer, family: IpFamily): string {
  const fields = declareSets(familyFacts[family]).find((one) => one.name === set)?.key;
  if (!fields) return key.toString('hex');
  let at = 0;
  return fields
    .map((field) => {
      const start = at;
      const take = (length: number) => key.subarray(start, (at += (length + 3) & ~3) && start + length);
      if (field === 'ipv4_addr') return bytesToIp(take(4));
      if (field === 'ipv6_addr') return bytesToIp(take(16));
      if (field === 'inet_proto') return protocols.get(take(1)[0]!) ?? 'another protocol';
      if (field === 'inet_service') return String(take(2).readUInt16BE(0));
      return String(take(4).readUInt32LE(0));
    })
    .join(' . ');
}

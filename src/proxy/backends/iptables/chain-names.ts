import { createHash } from 'node:crypto';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 16 base32 characters (RFC 4648) of a SHA-256: how chains of Services are named in the field. */
function shortHash(text: string): string {
  const digest = createHash('sha256').update(text).digest();
  let name = '';
  for (let index = 0; index < 16; index++) {
    const bit = index * 5;
    const word = (digest[bit >> 3]! << 8) | (digest[(bit >> 3) + 1] ?? 0);
    name += alphabet[(word >> (11 - (bit & 7))) & 31];
  }
  return name;
}

/** `SVC`: Cluster policy, `SVL`: Local policy, `EXT`: from outside, `FW`: source ranges. */
export type ServiceChainKind = 'SVC' | 'SVL' | 'EXT' | 'FW';

/** The chain of a Service port. `name` is `namespace/name:port`. */
export function serviceChain(kind: ServiceChainKind, name: string, protocol: string): string {
  return `KUBE-${kind}-${shortHash(name + protocol.toLowerCase())}`;
}

/** The chain of one endpoint of a Service port. `endpoint` is `address:port`. */
export function endpointChain(name: string, protocol: string, endpoint: string): string {
  return `KUBE-SEP-${shortHash(name + protocol.toLowerCase() + endpoint)}`;
}

import { bytesToIp, ipToBytes } from '../../src/host/netlink/index.ts';
import { errnoName, results } from '../../src/host/system-calls/index.ts';
import { declare } from '../../src/host/system-calls/library.ts';

/** What the packet laboratory needs of the C library besides what the project itself calls. */
export const sockets = {
  ...results,
  listen: declare<[fd: number, backlog: number]>('int listen(int fd, int backlog)'),
  accept4: declare<[fd: number, address: Uint8Array, length: Uint8Array, flags: number]>(
    'int accept4(int fd, _Out_ void *address, _Inout_ void *length, int flags)',
  ),
  recvfrom: declare<
    [fd: number, data: Uint8Array, size: number, flags: number, address: Uint8Array, length: Uint8Array]
  >('long recvfrom(int fd, _Out_ void *data, size_t size, int flags, _Out_ void *address, _Inout_ void *length)'),
  sendto: declare<[fd: number, data: Uint8Array, size: number, flags: number, address: Uint8Array, length: number]>(
    'long sendto(int fd, const void *data, size_t size, int flags, const void *address, unsigned int length)',
  ),
  poll: declare<[entries: Uint8Array, count: number, timeout: number]>(
    'int poll(_Inout_ void *entries, unsigned long count, int timeout)',
  ),
};

export const [inet, inet6] = [2, 10];
export const [stream, datagram] = [1, 2];
/** SOCK_NONBLOCK | SOCK_CLOEXEC. */
export const flags = 0o2004000;
const numbers = { TCP: 6, UDP: 17, SCTP: 132 } as const;
/** Numbers of the protocols in each family (ping sockets: ICMP and ICMPv6). */
export function protocolNumber(protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP', family: 4 | 6): number {
  if (protocol === 'ICMP') return family === 4 ? 1 : 58;
  return numbers[protocol];
}

/** A sockaddr_in or sockaddr_in6. */
export function socketAddress(address: string, port: number): Buffer {
  const six = address.includes(':');
  const bytes = Buffer.alloc(six ? 28 : 16);
  bytes.writeUInt16LE(six ? inet6 : inet, 0);
  bytes.writeUInt16BE(port, 2);
  ipToBytes(address).copy(bytes, six ? 8 : 4);
  return bytes;
}

/** The address in a sockaddr; IPv4 in IPv6 comes as IPv4. */
export function addressIn(bytes: Buffer): string {
  if (bytes.readUInt16LE(0) === inet) return bytesToIp(bytes.subarray(4, 8));
  const six = bytes.subarray(8, 24);
  const mapped = six.subarray(0, 12).equals(Buffer.from('00000000000000000000ffff', 'hex'));
  return bytesToIp(mapped ? six.subarray(12) : six);
}

/** A 32-bit number as the kernel reads it. */
export function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** @throws Error when the call failed */
export function must(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: ${errnoName(-result)}`);
  return result;
}

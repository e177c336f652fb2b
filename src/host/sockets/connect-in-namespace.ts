import { Socket } from 'node:net';
import { inNetworkNamespace } from '../namespaces/index.ts';
import { calls } from '../system-calls/index.ts';

const [ipv4, ipv6, stream, closeOnExec] = [2, 10, 1, 0o2000000];
const [socketLevel, sendTimeout] = [1, 21];

/**
 * Connects to a port on the loopback address of another network namespace, IPv4 first. Loopback answers at once, so
 * the call is synchronous; a listener whose queue is full is waited for no longer than half a second.
 * @param namespacePath undefined for the namespace of this process
 * @throws Error with the code of connect(2), such as `ECONNREFUSED`
 */
export function connectInNamespace(namespacePath: string | undefined, port: number): Socket {
  const fd = inNetworkNamespace(namespacePath, () => {
    try {
      return connectLoopback(ipv4, port);
    } catch (cause) {
      if ((cause as { code?: string }).code !== 'ECONNREFUSED') throw cause;
      return connectLoopback(ipv6, port);
    }
  });
  return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true } as ConstructorParameters<
    typeof Socket
  >[0]);
}

function connectLoopback(family: number, port: number): number {
  const fd = calls.socket(family, stream | closeOnExec, 0);
  try {
    const halfSecond = Buffer.alloc(16);
    halfSecond.writeBigInt64LE(500_000n, 8);
    calls.setsockopt(fd, socketLevel, sendTimeout, halfSecond, halfSecond.length);
    const address = Buffer.alloc(family === ipv4 ? 16 : 28);
    address.writeUInt16LE(family, 0);
    address.writeUInt16BE(port, 2);
    if (family === ipv4) address.set([127, 0, 0, 1], 4);
    else address.writeUInt8(1, 23);
    calls.connect(fd, address, address.length);
    return fd;
  } catch (cause) {
    calls.close(fd);
    throw cause;
  }
}

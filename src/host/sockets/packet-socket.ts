import { closeSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { calls } from '../system-calls/index.ts';
import { DescriptorStream } from './descriptor-stream.ts';

const [unixFamily, packetType, closeOnExec] = [1, 5, 0o2000000];

/**
 * Connects to a unix socket of type SOCK_SEQPACKET. Each `data` event is one packet, each write makes one.
 * @throws NamespaceError with the code of the system call (`ENOENT`, `ECONNREFUSED`)
 */
export function connectPacketSocket(path: string): DescriptorStream {
  const fd = calls.socket(unixFamily, packetType | closeOnExec, 0);
  try {
    const directory = openSync(dirname(path), 'r');
    try {
      // The address has room for 107 bytes only: reach the directory through its descriptor.
      const name = Buffer.from(`/proc/self/fd/${directory}/${basename(path)}\0`);
      const address = Buffer.concat([Buffer.from([unixFamily, 0]), name]);
      calls.connect(fd, address, address.length);
    } finally {
      closeSync(directory);
    }
  } catch (cause) {
    calls.close(fd);
    throw cause;
  }
  return new DescriptorStream(fd, { packets: true });
}

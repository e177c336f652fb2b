import { closeSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Clock } from '../../async/index.ts';
import { calls, errnoName, results, SystemCallError } from '../system-calls/index.ts';
import { DescriptorStream } from './descriptor-stream.ts';

const [unixFamily, packetType, nonBlocking, closeOnExec] = [1, 5, 0o4000, 0o2000000];

/** How a connection is made. */
export interface PacketSocketOptions {
  clock: Clock;
  /** How long a listener whose queue is full is waited for, milliseconds. Default 5,000. */
  timeoutMs?: number;
}

/**
 * Connects to a unix socket of type SOCK_SEQPACKET. Each `data` event is one packet, each write makes one.
 * @throws SystemCallError with the code of the system call (`ENOENT`, `ECONNREFUSED`; `EAGAIN` when the listener takes
 * nobody)
 */
export async function connectPacketSocket(path: string, options: PacketSocketOptions): Promise<DescriptorStream> {
  const { clock, timeoutMs = 5_000 } = options;
  const end = clock.monotonic() + timeoutMs;
  const fd = calls.socket(unixFamily, packetType | nonBlocking | closeOnExec, 0);
  try {
    for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
      const result = connectOnce(fd, path);
      if (result >= 0) return new DescriptorStream(fd, { packets: true });
      if (errnoName(-result) !== 'EAGAIN' || clock.monotonic() >= end)
        throw new SystemCallError(-result, `connect to ${path}`);
      await clock.sleep(wait);
    }
  } catch (cause) {
    calls.close(fd);
    throw cause;
  }
}

/** The address has room for 107 bytes only: the directory is reached through its descriptor. */
function connectOnce(fd: number, path: string): number {
  const directory = openSync(dirname(path), 'r');
  try {
    const name = Buffer.from(`/proc/self/fd/${directory}/${basename(path)}\0`);
    const address = Buffer.concat([Buffer.from([unixFamily, 0]), name]);
    return results.connect(fd, address, address.length);
  } finally {
    closeSync(directory);
  }
}

import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { calls } from '../system-calls/index.ts';

const [unixFamily, packetType, closeOnExec] = [1, 5, 0o2000000];

/**
 * Connects to a unix socket of type SOCK_SEQPACKET. Each `data` event is one packet, so the stream must be kept
 * flowing (packets that wait in a paused stream stay apart only while they are read one by one).
 *
 * Node has no door for such a socket; a pipe handle, given its descriptor, reads and writes it as it should.
 * @throws SystemCallError with the code of the system call (`ENOENT`, `ECONNREFUSED`)
 */
export function connectPacketSocket(path: string): Socket {
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
    return fromDescriptor(fd);
  } catch (cause) {
    calls.close(fd);
    throw cause;
  }
}

interface PipeHandle {
  open(fd: number): number;
}

function fromDescriptor(fd: number): Socket {
  const binding = (process as unknown as { binding(name: string): { Pipe: new (type: number) => PipeHandle } }).binding;
  const { Pipe } = binding('pipe_wrap');
  const handle = new Pipe(0);
  handle.open(fd);
  return new Socket({ handle, allowHalfOpen: true } as object);
}

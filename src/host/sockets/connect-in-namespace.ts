import { Socket } from 'node:net';
import type { Clock } from '../../async/index.ts';
import { inNetworkNamespace } from '../namespaces/index.ts';
import { calls, errnoName, results } from '../system-calls/index.ts';

const [ipv4, ipv6, stream, nonBlocking, closeOnExec] = [2, 10, 1, 0o4000, 0o2000000];
const [socketLevel, socketError] = [1, 4];
const tcpInfo = { level: 6, name: 11, synSent: 2 };

/** How a connection is made. */
export interface ConnectOptions {
  clock: Clock;
  /** How long a listener whose queue is full is waited for, milliseconds. Default 10,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Nothing took the connection, on either address. */
export class LoopbackError extends Error {
  /** Of the IPv4 address, such as `ECONNREFUSED`. */
  readonly code: string;
  constructor(port: number, failures: readonly { address: string; code: string }[]) {
    super(failures.map(({ address, code }) => `${address}:${port}: ${reasonOf(code)}`).join(', '));
    this.code = failures[0]?.code ?? 'EIO';
  }
}

function reasonOf(code: string): string {
  return { ECONNREFUSED: 'connection refused', ETIMEDOUT: 'connection timed out' }[code] ?? code;
}

/**
 * Connects to a port on the loopback addresses of another network namespace, 127.0.0.1 first, then ::1.
 * @param namespacePath undefined for the namespace of this process
 * @throws LoopbackError when neither takes the connection; Error when there is no such namespace
 */
export async function connectInNamespace(
  namespacePath: string | undefined,
  port: number,
  options: ConnectOptions,
): Promise<Socket> {
  const failures: { address: string; code: string }[] = [];
  for (const [family, address] of [
    [ipv4, '127.0.0.1'],
    [ipv6, '[::1]'],
  ] as const) {
    const result = await connectLoopback(namespacePath, family, port, options);
    if (typeof result !== 'string')
      return new Socket({ fd: result, readable: true, writable: true, allowHalfOpen: true } as object);
    failures.push({ address, code: result });
  }
  throw new LoopbackError(port, failures);
}

/** Gives a connected descriptor, or the code of the failure. */
async function connectLoopback(
  namespacePath: string | undefined,
  family: number,
  port: number,
  options: ConnectOptions,
): Promise<number | string> {
  const fd = inNetworkNamespace(namespacePath, () => results.socket(family, stream | nonBlocking | closeOnExec, 0));
  if (fd < 0) return errnoName(-fd);
  const address = Buffer.alloc(family === ipv4 ? 16 : 28);
  address.writeUInt16LE(family, 0);
  address.writeUInt16BE(port, 2);
  if (family === ipv4) address.set([127, 0, 0, 1], 4);
  else address.writeUInt8(1, 23);
  const begun = results.connect(fd, address, address.length);
  const code = begun === 0 ? undefined : errnoName(-begun);
  // Loopback answers within the call, unless the listener's queue is full.
  const failure = code === 'EINPROGRESS' ? await waitUntilConnected(fd, options) : code;
  if (failure === undefined) return fd;
  calls.close(fd);
  return failure;
}

/** Looks now and then: the case is rare, and the kernel tries again only after a second anyway. */
async function waitUntilConnected(fd: number, { clock, timeoutMs = 10_000, signal }: ConnectOptions) {
  const end = clock.monotonic() + timeoutMs;
  for (let wait = 1; ; wait = Math.min(wait * 2, 100)) {
    const error = readOption(fd, socketLevel, socketError, 4).readUInt32LE(0);
    if (error !== 0) return errnoName(error);
    if (readOption(fd, tcpInfo.level, tcpInfo.name, 8)[0] !== tcpInfo.synSent) return undefined;
    if (clock.monotonic() >= end || signal?.aborted) return 'ETIMEDOUT';
    await clock.sleep(wait);
  }
}

function readOption(fd: number, level: number, name: number, size: number): Buffer {
  const value = Buffer.alloc(size);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(size);
  calls.getsockopt(fd, level, name, value, length);
  return value;
}

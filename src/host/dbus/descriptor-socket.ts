import { addressOf, calls, errnoName, results, SystemCallError } from '../system-calls/index.ts';

const [unixFamily, streamType, nonBlocking, closeOnExec] = [1, 1, 0o4000, 0o2000000];
const [socketLevel, rights, closeReceivedOnExec, noSignal] = [1, 1, 0x40000000, 0x4000];

/** A unix socket that carries descriptors beside its bytes. Nothing waits: what is not there yet is not there. */
export class DescriptorSocket {
  readonly #fd: number;
  #closed = false;

  /** Connects to a path, or with `@` first to an abstract name. @throws SystemCallError */
  constructor(path: string) {
    this.#fd = calls.socket(unixFamily, streamType | nonBlocking | closeOnExec, 0);
    const name = path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`;
    const address = Buffer.concat([Buffer.from([unixFamily, 0]), Buffer.from(name)]);
    const result = results.connect(this.#fd, address, address.length);
    if (result >= 0) return;
    calls.close(this.#fd);
    throw new SystemCallError(-result, `connect to ${path}`);
  }

  /** Sends all of the bytes, with descriptors (at most one) beside them. Messages are short: they fit the buffer. @throws SystemCallError */
  send(bytes: Buffer, descriptor?: number): void {
    const vector = Buffer.alloc(16);
    vector.writeBigUInt64LE(addressOf(bytes), 0);
    vector.writeBigUInt64LE(BigInt(bytes.length), 8);
    const control = Buffer.alloc(24);
    control.writeBigUInt64LE(20n, 0);
    control.writeInt32LE(socketLevel, 8);
    control.writeInt32LE(rights, 12);
    control.writeInt32LE(descriptor ?? -1, 16);
    const header = messageHeader(vector, descriptor === undefined ? Buffer.alloc(0) : control);
    const sent = calls.sendmsg(this.#fd, header, noSignal);
    if (sent < bytes.length) throw new Error(`only ${sent} of ${bytes.length} bytes could be sent`);
  }

  /** What has come; undefined when nothing has. Empty bytes: the other side has closed. @throws SystemCallError */
  receive(): { bytes: Buffer; descriptors: number[] } | undefined {
    const bytes = Buffer.alloc(64 * 1024);
    const vector = Buffer.alloc(16);
    vector.writeBigUInt64LE(addressOf(bytes), 0);
    vector.writeBigUInt64LE(BigInt(bytes.length), 8);
    const control = Buffer.alloc(256);
    const header = messageHeader(vector, control);
    const count = results.recvmsg(this.#fd, header, closeReceivedOnExec);
    if (count < 0) {
      const name = errnoName(-count);
      if (name === 'EAGAIN' || name === 'EINTR') return undefined;
      throw new SystemCallError(-count, 'receive from a bus');
    }
    return { bytes: bytes.subarray(0, count), descriptors: readRights(control, Number(header.readBigUInt64LE(40))) };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    calls.close(this.#fd);
  }
}

/** struct msghdr of 64-bit Linux. */
function messageHeader(vector: Buffer, control: Buffer): Buffer {
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(addressOf(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  if (control.length > 0) header.writeBigUInt64LE(addressOf(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  return header;
}

function readRights(control: Buffer, length: number): number[] {
  const descriptors: number[] = [];
  for (let at = 0; at + 16 <= length; ) {
    const size = Number(control.readBigUInt64LE(at));
    if (size < 16) break;
    if (control.readInt32LE(at + 8) === socketLevel && control.readInt32LE(at + 12) === rights)
      for (let one = at + 16; one + 4 <= at + size; one += 4) descriptors.push(control.readInt32LE(one));
    at += Math.ceil(size / 8) * 8;
  }
  return descriptors;
}

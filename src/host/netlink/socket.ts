import { NetlinkError } from './errors.ts';
import {
  attributeString,
  MessageWriter,
  messageFlag,
  messageType,
  type NetlinkMessage,
  readAttributes,
  readMessages,
} from './message.ts';
import { constant, lastErrno, libc } from './socket-calls.ts';

/** Netlink protocol numbers (linux/netlink.h). */
export const netlinkProtocol = { route: 0, netfilter: 12, generic: 16 } as const;

/** How a socket is opened. */
export interface NetlinkSocketOptions {
  protocol: keyof typeof netlinkProtocol;
  /** Multicast groups to join, by number. Read what they bring with {@link NetlinkSocket.drain}. */
  groups?: readonly number[];
  /** Network namespace to open it in: a path (`/run/netns/x`, `/proc/1/ns/net`) or an open descriptor. Default: the thread's own. */
  namespace?: string | number;
  /** Receive buffer, bytes. Default 1 MiB. */
  receiveBufferBytes?: number;
}

const receiveBuffer = Buffer.allocUnsafe(256 * 1024);
const longestMessage = 64 * 1024;

/**
 * A netlink socket, used synchronously.
 *
 * The kernel works on a request inside send() and has queued its answer, or the first part of a dump, when send()
 * returns; further parts are made inside recv(). So reading with MSG_DONTWAIT never waits and never misses, and a
 * request costs microseconds: a thread or a promise per request would cost more than the request. Only multicast
 * notices come later; they are fetched with drain(), which a caller does on a timer of its Clock (one non-blocking
 * recv() that finds nothing costs under a microsecond). libuv can watch no netlink descriptor, and a blocking read
 * would hold one of its few threads for good.
 */
export class NetlinkSocket {
  #fd: number;
  #sequence = 1;
  #sendBufferBytes = 0;

  /** Opens a socket. @throws NetlinkError */
  constructor(options: NetlinkSocketOptions) {
    this.#fd = inNamespace(options.namespace, () =>
      check(
        libc().socket(
          constant.afNetlink,
          constant.sockRaw | constant.sockCloexec,
          netlinkProtocol[options.protocol],
        ) as number,
        'open a netlink socket',
      ),
    );
    try {
      this.#setOption(constant.solNetlink, constant.netlinkExtAck, 1);
      this.#setOption(constant.solNetlink, constant.netlinkCapAck, 1);
      this.#resize(constant.soRcvBufForce, constant.soRcvBuf, options.receiveBufferBytes ?? 1024 * 1024);
      const address = Buffer.alloc(12);
      address.writeUInt16LE(constant.afNetlink, 0);
      check(libc().bind(this.#fd, address, address.length), 'bind a netlink socket');
      for (const group of options.groups ?? []) {
        if (!this.#setOption(constant.solNetlink, constant.netlinkAddMembership, group))
          throw new NetlinkError(lastErrno(), `join netlink group ${group}`);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** A writer whose sequence numbers go on where this socket's last request ended. */
  writer(capacity?: number): MessageWriter {
    return new MessageWriter({ firstSequence: this.#sequence, capacity });
  }

  /**
   * One request that is acknowledged: creates, changes, removals. Gives the messages that came before the
   * acknowledgement (an echo, or the answer to a get). `subject` is what an error is about.
   * @throws NetlinkError
   */
  request(type: number, flags: number, write: (writer: MessageWriter) => void, subject: string): NetlinkMessage[] {
    const writer = this.writer().begin(type, flags | messageFlag.acknowledge);
    write(writer);
    return this.#exchange(writer, subject, false);
  }

  /** A dump: all objects that the request selects. Tried again when they change meanwhile. @throws NetlinkError */
  dump(type: number, write: (writer: MessageWriter) => void, subject: string, flags = 0): NetlinkMessage[] {
    for (let attempt = 0; ; attempt++) {
      const writer = this.writer().begin(type, flags | messageFlag.dump);
      write(writer);
      try {
        return this.#exchange(writer, subject, true);
      } catch (error) {
        if (!(error instanceof DumpInterrupted)) throw error;
        if (attempt >= 20) throw new NetlinkError(4, `${subject}: it kept changing while it was read`);
      }
    }
  }

  /**
   * A dump whose messages are handed on as they come, for tables too large to hold. Changes meanwhile do not start it
   * again. The socket is busy until the last message has been taken.
   * @throws NetlinkError
   */
  *stream(type: number, write: (writer: MessageWriter) => void, subject: string): Generator<NetlinkMessage> {
    const writer = this.writer().begin(type, messageFlag.dump);
    write(writer);
    this.#send(writer, subject);
    for (;;) {
      const datagram = this.#receive();
      if (datagram === undefined) throw new NetlinkError(11, `${subject}: the kernel gave no answer`);
      if (datagram === 'overrun') throw new NetlinkError(105, subject);
      for (const message of readMessages(datagram)) {
        if (message.sequence !== writer.sequence) continue;
        if (message.type === messageType.done) return;
        const error = message.type === messageType.error ? readError(message, subject) : undefined;
        if (error) throw error;
        yield message;
      }
    }
  }

  /**
   * Sends messages of which none asks for an acknowledgement, and gives the errors that the kernel answered; none
   * means that all took effect. For nfnetlink batches, which are one transaction.
   */
  sendBatch(writer: MessageWriter, subject: string): NetlinkError[] {
    this.#send(writer, subject);
    const errors: NetlinkError[] = [];
    for (const message of this.drain()) {
      if (message.type !== messageType.error) continue;
      const error = readError(message, subject);
      if (error) errors.push(error);
    }
    return errors;
  }

  /** Messages that wait in the socket; never blocks. An overrun (notices lost) shows as a message of type `overrun`. */
  drain(): NetlinkMessage[] {
    const messages: NetlinkMessage[] = [];
    for (;;) {
      const datagram = this.#receive();
      if (datagram === undefined) return messages;
      if (datagram === 'overrun')
        messages.push({ type: messageType.overrun, flags: 0, sequence: 0, payload: Buffer.alloc(0) });
      else messages.push(...readMessages(datagram));
    }
  }

  /** Closes it; more than once does no harm. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #exchange(writer: MessageWriter, subject: string, dump: boolean): NetlinkMessage[] {
    this.#send(writer, subject);
    const sequence = writer.sequence;
    const found: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      const datagram = this.#receive();
      if (datagram === undefined) throw new NetlinkError(11, `${subject}: the kernel gave no answer`);
      if (datagram === 'overrun') throw new NetlinkError(105, subject);
      for (const message of readMessages(datagram)) {
        if (message.sequence !== sequence) continue;
        if (dump && message.flags & 0x10) interrupted = true;
        if (message.type === messageType.error) {
          const error = readError(message, subject);
          if (error) throw error;
          if (!dump) return found;
        } else if (message.type === messageType.done) {
          const status = message.payload.length >= 4 ? message.payload.readInt32LE(0) : 0;
          if (status < 0) throw new NetlinkError(-status, subject);
          if (interrupted) throw new DumpInterrupted();
          return found;
        } else found.push(message);
      }
    }
  }

  #send(writer: MessageWriter, subject: string): void {
    if (this.#fd < 0) throw new NetlinkError(9, subject);
    this.drain();
    const bytes = writer.finish();
    this.#sequence = (writer.sequence + 1) % 0x7fffffff || 1;
    if (bytes.length * 2 > this.#sendBufferBytes && bytes.length > 64 * 1024) {
      this.#sendBufferBytes = bytes.length * 2;
      this.#resize(constant.soSndBufForce, constant.soSndBuf, this.#sendBufferBytes);
    }
    if (libc().send(this.#fd, bytes, bytes.length, 0) < 0) throw new NetlinkError(lastErrno(), subject);
  }

  #receive(): Buffer | 'overrun' | undefined {
    const length = libc().recv(this.#fd, receiveBuffer, receiveBuffer.length, constant.msgDontWait) as number;
    if (length >= 0) return Buffer.from(receiveBuffer.subarray(0, length));
    const errno = lastErrno();
    if (errno === 11) return undefined;
    if (errno === 4) return this.#receive();
    if (errno === 105) return 'overrun';
    throw new NetlinkError(errno, 'read from a netlink socket');
  }

  #setOption(level: number, option: number, value: number): boolean {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    return libc().setsockopt(this.#fd, level, option, bytes, 4) === 0;
  }
  #resize(force: number, plain: number, bytes: number): void {
    if (!this.#setOption(constant.solSocket, force, Math.max(bytes, longestMessage)))
      this.#setOption(constant.solSocket, plain, bytes);
  }
}

/** Objects changed while a dump of them was read: it is asked for again. */
class DumpInterrupted extends Error {}

/** The error that a message of type `error` carries; undefined for an acknowledgement. */
export function readError(message: NetlinkMessage, subject: string): NetlinkError | undefined {
  const { payload, flags } = message;
  const errno = -payload.readInt32LE(0);
  if (errno === 0) return undefined;
  let kernelMessage = '';
  if (flags & messageFlag.acknowledgeAttributes) {
    const request = flags & messageFlag.capped ? 16 : payload.readUInt32LE(4);
    kernelMessage = attributeString(readAttributes(payload, 4 + request).get(1));
  }
  return new NetlinkError(errno, subject, { kernelMessage, sequence: message.sequence });
}

/**
 * Runs a synchronous function with this thread in another network namespace, and comes back. A socket opened inside
 * stays in that namespace. Not for asynchronous work: everything else on the thread would run there too.
 * @throws NetlinkError when the namespace cannot be entered
 */
export function inNamespace<T>(namespace: string | number | undefined, work: () => T): T {
  if (namespace === undefined) return work();
  const { open, setns, close } = libc();
  const home = check(open('/proc/thread-self/ns/net', constant.oRdonlyCloexec), 'open the own network namespace');
  let target = -1;
  try {
    target =
      typeof namespace === 'number'
        ? namespace
        : check(open(namespace, constant.oRdonlyCloexec), `open the network namespace ${namespace}`);
    check(setns(target, constant.cloneNewNet), `enter the network namespace ${namespace}`);
    try {
      return work();
    } finally {
      check(setns(home, constant.cloneNewNet), 'return to the own network namespace');
    }
  } finally {
    if (typeof namespace === 'string' && target >= 0) close(target);
    close(home);
  }
}

function check(result: number, subject: string): number {
  if (result < 0) throw new NetlinkError(lastErrno(), subject);
  return result;
}

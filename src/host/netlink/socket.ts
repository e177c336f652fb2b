import { inNetworkNamespace } from '../namespaces/index.ts';
import { results } from '../system-calls/index.ts';
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

/** Netlink protocol numbers (linux/netlink.h). */
export const netlinkProtocol = { route: 0, netfilter: 12, generic: 16 } as const;

/** Numbers of socket(2) and of netlink's socket options (x86-64 and arm64). */
const constant = {
  afNetlink: 16,
  sockRaw: 3,
  sockCloexec: 0x80000,
  solSocket: 1,
  soSndBuf: 7,
  soRcvBuf: 8,
  soSndBufForce: 32,
  soRcvBufForce: 33,
  solNetlink: 270,
  netlinkAddMembership: 1,
  netlinkCapAck: 10,
  netlinkExtAck: 11,
  msgDontWait: 0x40,
} as const;
const errno = { interrupted: 4, ioError: 5, badDescriptor: 9, again: 11, noBuffers: 105 };

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
    const type = constant.sockRaw | constant.sockCloexec;
    this.#fd = inNetworkNamespace(options.namespace, () =>
      check(results.socket(constant.afNetlink, type, netlinkProtocol[options.protocol]), 'open a netlink socket'),
    );
    try {
      this.#setOption(constant.solNetlink, constant.netlinkExtAck, 1);
      this.#setOption(constant.solNetlink, constant.netlinkCapAck, 1);
      this.#resize(constant.soRcvBufForce, constant.soRcvBuf, options.receiveBufferBytes ?? 1024 * 1024);
      const address = Buffer.alloc(12);
      address.writeUInt16LE(constant.afNetlink, 0);
      check(results.bind(this.#fd, address, address.length), 'bind a netlink socket');
      for (const group of options.groups ?? []) {
        check(
          this.#setOption(constant.solNetlink, constant.netlinkAddMembership, group),
          `join netlink group ${group}`,
        );
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

  /**
   * The same for what the kernel takes long over (the removal of a link waits until no processor can see it, 25 ms):
   * it does so on another thread. The socket must not be used meanwhile.
   * @throws NetlinkError
   */
  async requestOnThread(
    type: number,
    flags: number,
    write: (writer: MessageWriter) => void,
    subject: string,
  ): Promise<NetlinkMessage[]> {
    const writer = this.writer().begin(type, flags | messageFlag.acknowledge);
    write(writer);
    const bytes = this.#prepare(writer, subject);
    const sent = await results.send.onThread(this.#fd, bytes, bytes.length, 0);
    if (sent < 0) throw new NetlinkError(errno.ioError, subject);
    return this.#answer(writer, subject, false);
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
        if (attempt >= 20) throw new NetlinkError(errno.interrupted, `${subject}: it kept changing while it was read`);
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
      if (datagram === undefined) throw new NetlinkError(errno.again, `${subject}: the kernel gave no answer`);
      if (datagram === 'overrun') throw new NetlinkError(errno.noBuffers, subject);
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
    results.close(this.#fd);
    this.#fd = -1;
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #exchange(writer: MessageWriter, subject: string, dump: boolean): NetlinkMessage[] {
    this.#send(writer, subject);
    return this.#answer(writer, subject, dump);
  }

  #answer(writer: MessageWriter, subject: string, dump: boolean): NetlinkMessage[] {
    const sequence = writer.sequence;
    const found: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      const datagram = this.#receive();
      if (datagram === undefined) throw new NetlinkError(errno.again, `${subject}: the kernel gave no answer`);
      if (datagram === 'overrun') throw new NetlinkError(errno.noBuffers, subject);
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
    const bytes = this.#prepare(writer, subject);
    check(results.send(this.#fd, bytes, bytes.length, 0), subject);
  }

  /** What is to be sent, with room for it in the socket. */
  #prepare(writer: MessageWriter, subject: string): Buffer {
    if (this.#fd < 0) throw new NetlinkError(errno.badDescriptor, subject);
    this.drain();
    const bytes = writer.finish();
    this.#sequence = (writer.sequence + 1) % 0x7fffffff || 1;
    if (bytes.length * 2 > this.#sendBufferBytes && bytes.length > 64 * 1024) {
      this.#sendBufferBytes = bytes.length * 2;
      this.#resize(constant.soSndBufForce, constant.soSndBuf, this.#sendBufferBytes);
    }
    return bytes;
  }

  #receive(): Buffer | 'overrun' | undefined {
    const length = results.recv(this.#fd, receiveBuffer, receiveBuffer.length, constant.msgDontWait);
    if (length >= 0) return Buffer.from(receiveBuffer.subarray(0, length));
    if (-length === errno.again) return undefined;
    if (-length === errno.interrupted) return this.#receive();
    if (-length === errno.noBuffers) return 'overrun';
    throw new NetlinkError(-length, 'read from a netlink socket');
  }

  #setOption(level: number, option: number, value: number): number {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    return results.setsockopt(this.#fd, level, option, bytes, 4);
  }
  #resize(force: number, plain: number, bytes: number): void {
    if (this.#setOption(constant.solSocket, force, Math.max(bytes, longestMessage)) < 0)
      this.#setOption(constant.solSocket, plain, bytes);
  }
}

/** Objects changed while a dump of them was read: it is asked for again. */
class DumpInterrupted extends Error {}

/** The error that a message of type `error` carries; undefined for an acknowledgement. */
export function readError(message: NetlinkMessage, subject: string): NetlinkError | undefined {
  const { payload, flags } = message;
  const number = -payload.readInt32LE(0);
  if (number === 0) return undefined;
  let kernelMessage = '';
  if (flags & messageFlag.acknowledgeAttributes) {
    const request = flags & messageFlag.capped ? 16 : payload.readUInt32LE(4);
    kernelMessage = attributeString(readAttributes(payload, 4 + request).get(1));
  }
  return new NetlinkError(number, subject, { kernelMessage, sequence: message.sequence });
}

function check(result: number, subject: string): number {
  if (result < 0) throw new NetlinkError(-result, subject);
  return result;
}

import { systemClock } from '../../src/async/index.ts';
import { inNetworkNamespace } from '../../src/host/namespaces/index.ts';
import { errnoName } from '../../src/host/system-calls/index.ts';
import {
  addressIn,
  datagram,
  flags,
  inet,
  inet6,
  int,
  must,
  protocolNumber,
  socketAddress,
  sockets,
  stream,
} from './socket-calls.ts';

/** One connection to make, or packet to send. */
export interface Call {
  /** Path of the network namespace. */
  namespace: string;
  protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP';
  address: string;
  port: number;
  /** The source address, where the kernel is not to choose. */
  source?: string;
  /** How long nothing may come, milliseconds. */
  patienceMs: number;
}

/** What came of it: the answer of a server (its name, the port it listens on, who called it), or an error's name. */
export type Reply = { name: string; port: number; caller: string } | { error: string };

const [pollIn, pollOut] = [1, 4];
const [solSocket, soLinger, soReuse, soError, ipv6Level, v6Only] = [1, 13, 2, 4, 41, 26];
const reply = (text: string): Reply => {
  const [name = '', port, caller = ''] = text.split(' ');
  return { name, port: Number(port), caller };
};

interface Open {
  fd: number;
  call: Call;
  done: (reply: Reply) => void;
  deadline: number;
  again: number;
  text: string;
  connected: boolean;
}

/**
 * Sockets in many network namespaces, all in this process: servers that answer their name, port and caller, and clients
 * by the hundred at a time. A socket stays in the namespace in which it was made.
 */
export class PacketLab implements Disposable {
  readonly #servers = new Map<number, { name: string; port: number; protocol: Call['protocol'] }>();
  readonly #open = new Map<number, Open>();
  readonly #waiting: { call: Call; done: (reply: Reply) => void }[] = [];
  #running: Promise<void> | undefined;
  #closed = false;
  readonly #limit = 300;

  /** Listens on all addresses of the namespace, in both families. Gives whether the kernel has the protocol. */
  serve(namespace: string, protocol: 'TCP' | 'UDP' | 'SCTP', port: number, name: string): boolean {
    const type = protocol === 'UDP' ? datagram : stream;
    const fd = inNetworkNamespace(namespace, () => sockets.socket(inet6, type | flags, protocolNumber(protocol, 6)));
    if (fd < 0) return false;
    sockets.setsockopt(fd, solSocket, soReuse, int(1), 4);
    sockets.setsockopt(fd, ipv6Level, v6Only, int(0), 4);
    const address = socketAddress('::', port);
    must(sockets.bind(fd, address, address.length), `bind ${protocol} ${port}`);
    if (protocol !== 'UDP') must(sockets.listen(fd, 1024), 'listen');
    this.#servers.set(fd, { name, port, protocol });
    return true;
  }

  /** Makes all these calls, some hundred at a time. */
  call(calls: readonly Call[]): Promise<Reply[]> {
    const replies = calls.map((call) => new Promise<Reply>((done) => this.#waiting.push({ call, done })));
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return Promise.all(replies);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const fd of [...this.#servers.keys(), ...this.#open.keys()]) sockets.close(fd);
    this.#servers.clear();
    this.#open.clear();
  }

  async #run(): Promise<void> {
    while (!this.#closed && this.#open.size + this.#waiting.length > 0) {
      while (this.#open.size < this.#limit && this.#waiting.length > 0) this.#begin(this.#waiting.shift()!);
      const descriptors = [...this.#servers.keys(), ...this.#open.keys()];
      const entries = Buffer.alloc(descriptors.length * 8);
      descriptors.forEach((fd, index) => {
        entries.writeInt32LE(fd, index * 8);
        const one = this.#open.get(fd);
        entries.writeInt16LE(one && !one.connected ? pollOut : pollIn, index * 8 + 4);
      });
      await sockets.poll.onThread(entries, descriptors.length, 20);
      descriptors.forEach((fd, index) => {
        if (entries.readInt16LE(index * 8 + 6) === 0) return;
        const server = this.#servers.get(fd);
        if (server) this.#answer(fd, server);
        else if (this.#open.has(fd)) this.#read(this.#open.get(fd)!);
      });
      this.#lookAtClock();
    }
  }

  #begin({ call, done }: { call: Call; done: (reply: Reply) => void }): void {
    const family = call.address.includes(':') ? 6 : 4;
    const type = call.protocol === 'TCP' || call.protocol === 'SCTP' ? stream : datagram;
    const number = protocolNumber(call.protocol, family);
    const fd = inNetworkNamespace(call.namespace, () =>
      sockets.socket(family === 4 ? inet : inet6, type | flags, number),
    );
    if (fd < 0) return done({ error: errnoName(-fd) });
    const now = systemClock.monotonic();
    const connected = type === datagram;
    const one: Open = { fd, call, done, deadline: now + call.patienceMs, again: now + 200, text: '', connected };
    this.#open.set(fd, one);
    if (call.source !== undefined) {
      const from = socketAddress(call.source, 0);
      must(sockets.bind(fd, from, from.length), `bind to ${call.source}`);
    }
    const to = socketAddress(call.address, call.protocol === 'ICMP' ? 0 : call.port);
    const result = sockets.connect(fd, to, to.length);
    if (result < 0 && errnoName(-result) !== 'EINPROGRESS') return this.#end(one, { error: errnoName(-result) });
    if (connected) this.#send(one);
  }
  #send(one: Open): void {
    const echo = Buffer.from([one.call.address.includes(':') ? 128 : 8, 0, 0, 0, 0, 0, 0, 1]);
    const data = one.call.protocol === 'ICMP' ? echo : Buffer.from('?');
    const result = sockets.send(one.fd, data, data.length, 0);
    // What the own node's rules drop is an error at once (EPERM), as good as silence.
    if (result < 0 && errnoName(-result) === 'ECONNREFUSED') this.#end(one, { error: 'ECONNREFUSED' });
  }

  #read(one: Open): void {
    const data = Buffer.alloc(256);
    if (!one.connected) {
      const error = Buffer.alloc(4);
      sockets.getsockopt(one.fd, solSocket, soError, error, int(4));
      if (error.readInt32LE(0) !== 0) return this.#end(one, { error: errnoName(error.readInt32LE(0)) });
      one.connected = true;
      return;
    }
    const size = sockets.recv(one.fd, data, data.length, 0);
    if (size < 0) {
      if (errnoName(-size) !== 'EAGAIN') this.#end(one, { error: errnoName(-size) });
      return;
    }
    if (one.call.protocol === 'ICMP') return this.#end(one, { name: 'echo', port: 0, caller: '' });
    one.text += data.toString('latin1', 0, size);
    if (one.call.protocol === 'UDP' || size === 0)
      this.#end(one, one.text === '' ? { error: 'closed without an answer' } : reply(one.text));
  }
  #end(one: Open, result: Reply): void {
    this.#open.delete(one.fd);
    // Closed with a reset: nothing lingers.
    if (one.call.protocol === 'TCP')
      sockets.setsockopt(one.fd, solSocket, soLinger, Buffer.concat([int(1), int(0)]), 8);
    sockets.close(one.fd);
    one.done(result);
  }
  #lookAtClock(): void {
    const now = systemClock.monotonic();
    for (const one of this.#open.values()) {
      if (now >= one.deadline) this.#end(one, { error: 'TIMEOUT' });
      else if (one.call.protocol === 'UDP' && now >= one.again) {
        one.again = now + 200;
        this.#send(one);
      }
    }
  }

  #answer(fd: number, { name, port, protocol }: { name: string; port: number; protocol: Call['protocol'] }): void {
    const from = Buffer.alloc(28);
    const length = int(28);
    for (let turn = 0; turn < 100; turn++) {
      length.writeInt32LE(28);
      if (protocol === 'UDP') {
        if (sockets.recvfrom(fd, Buffer.alloc(64), 64, 0, from, length) < 0) return;
        const text = Buffer.from(`${name} ${port} ${addressIn(from)}`);
        sockets.sendto(fd, text, text.length, 0, from, 28);
      } else {
        const peer = sockets.accept4(fd, from, length, flags);
        if (peer < 0) return;
        const text = Buffer.from(`${name} ${port} ${addressIn(from)}`);
        sockets.send(peer, text, text.length, 0x4000);
        sockets.close(peer);
      }
    }
  }
}

import { closeSync } from 'node:fs';
import type { Clock, Timer } from '../../async/index.ts';
import { DescriptorSocket } from './descriptor-socket.ts';
import { type BusMessage, decodeMessage, encodeMessage, messageLength } from './message.ts';
import type { BusValue } from './values.ts';

/** Where a call goes. */
export interface BusTarget {
  destination: string;
  path: string;
  interface: string;
}

/** Raised when the bus or who was called says no. */
export class BusError extends Error {
  /** As `org.freedesktop.DBus.Error.ServiceUnknown`. */
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

interface Waiting {
  resolve(message: BusMessage): void;
  reject(error: Error): void;
}

/** How often what has come is looked for while an answer is awaited, and while none is, milliseconds. */
const [busyMs, idleMs] = [5, 100];

const bus: BusTarget = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
};

/**
 * A connection to a message bus, with descriptors (D-Bus specification: EXTERNAL authentication, method calls, signals).
 * What has come is fetched on a timer of the clock: one look that finds nothing costs a microsecond, and messages are rare.
 */
export class BusConnection {
  readonly #socket: DescriptorSocket;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, Waiting>();
  #bytes = Buffer.alloc(0);
  #descriptors: number[] = [];
  #serial = 0;
  #timer: Timer | undefined;
  #ended: Error | undefined;
  /** Told of signals that were asked for. */
  onSignal: (message: BusMessage) => void = () => {};
  /** Answers calls of others; undefined: there is no such method. */
  onCall: (message: BusMessage) => { signature: string; body: BusValue[]; descriptor?: number } | undefined = () =>
    undefined;
  /** Told once when the bus has gone. */
  onEnd: (error: Error) => void = () => {};

  private constructor(socket: DescriptorSocket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
  }

  /**
   * Connects and says hello.
   * @param address as in DBUS_SYSTEM_BUS_ADDRESS: `unix:path=/run/dbus/system_bus_socket`
   * @throws SystemCallError (`ENOENT` when there is no bus) or BusError
   */
  static async open(address: string, clock: Clock): Promise<BusConnection> {
    const socket = new DescriptorSocket(socketPath(address));
    const connection = new BusConnection(socket, clock);
    try {
      await connection.#authenticate();
      connection.#look();
      await connection.call(bus, 'Hello');
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  /** Calls a method and gives its answer. @throws BusError */
  async call(
    target: BusTarget,
    member: string,
    signature = '',
    body: BusValue[] = [],
    timeoutMs = 25_000,
  ): Promise<BusMessage> {
    if (this.#ended) throw this.#ended;
    const serial = ++this.#serial;
    const { promise, resolve, reject } = Promise.withResolvers<BusMessage>();
    this.#waiting.set(serial, { resolve, reject });
    const late = this.#clock.after(timeoutMs, () =>
      reject(
        new BusError(
          'org.freedesktop.DBus.Error.NoReply',
          `${target.destination} did not answer ${member} within ${timeoutMs} ms`,
        ),
      ),
    );
    try {
      this.#socket.send(encodeMessage({ type: 'call', serial, ...target, member, signature, body, descriptors: [] }));
      this.#look();
      return await promise;
    } finally {
      late.cancel();
      this.#waiting.delete(serial);
    }
  }

  /** Asks for signals by a match rule. */
  async match(rule: string): Promise<void> {
    await this.call(bus, 'AddMatch', 's', [rule]);
  }

  /** Takes a name, so that others can call. @throws BusError when somebody has it */
  async own(name: string): Promise<void> {
    const { body } = await this.call(bus, 'RequestName', 'su', [name, 4]);
    if (body[0] !== 1 && body[0] !== 4)
      throw new BusError('org.freedesktop.DBus.Error.Failed', `${name} belongs to somebody else`);
  }

  /** Sends a signal to all who asked for it. */
  emit(signal: { path: string; interface: string; member: string; signature: string; body: BusValue[] }): void {
    this.#socket.send(encodeMessage({ type: 'signal', serial: ++this.#serial, ...signal, descriptors: [] }));
  }

  close(): void {
    this.#end(new BusError('org.freedesktop.DBus.Error.Disconnected', 'the connection was closed'), false);
  }

  async #authenticate(): Promise<void> {
    const id = Buffer.from(String(process.getuid!())).toString('hex');
    await this.#say(`\0AUTH EXTERNAL ${id}\r\n`, 'OK');
    await this.#say('NEGOTIATE_UNIX_FD\r\n', 'AGREE_UNIX_FD');
    this.#socket.send(Buffer.from('BEGIN\r\n'));
  }

  async #say(line: string, wanted: string): Promise<void> {
    this.#socket.send(Buffer.from(line));
    let answer = '';
    for (let waited = 0; !answer.endsWith('\r\n'); waited += busyMs) {
      const come = this.#socket.receive();
      if (come?.bytes.length === 0 || waited > 5000) break;
      if (come) answer += come.bytes.toString();
      else await this.#clock.sleep(busyMs);
    }
    if (!answer.startsWith(wanted))
      throw new BusError(
        'org.freedesktop.DBus.Error.AuthFailed',
        `the bus answers ${JSON.stringify(answer.trim())} where ${wanted} is expected`,
      );
  }

  #look(): void {
    this.#timer?.cancel();
    if (this.#ended) return;
    try {
      for (let come = this.#socket.receive(); come; come = this.#socket.receive()) {
        if (come.bytes.length === 0) throw new BusError('org.freedesktop.DBus.Error.Disconnected', 'the bus has gone');
        this.#bytes = Buffer.concat([this.#bytes, come.bytes]);
        this.#descriptors.push(...come.descriptors);
        this.#read();
      }
    } catch (error) {
      return this.#end(error as Error, true);
    }
    this.#timer = this.#clock.after(this.#waiting.size > 0 ? busyMs : idleMs, () => this.#look());
  }

  #read(): void {
    for (;;) {
      const length = messageLength(this.#bytes);
      if (length === undefined || this.#bytes.length < length) return;
      const message = decodeMessage(this.#bytes.subarray(0, length), (count) => this.#descriptors.splice(0, count));
      this.#bytes = this.#bytes.subarray(length);
      this.#take(message);
    }
  }

  #take(message: BusMessage): void {
    if (message.type === 'signal') return this.onSignal(message);
    if (message.type === 'call') return this.#answer(message);
    const waiting = this.#waiting.get(message.replyTo ?? 0);
    if (!waiting) {
      for (const descriptor of message.descriptors) closeSync(descriptor);
    } else if (message.type === 'reply') waiting.resolve(message);
    else waiting.reject(new BusError(message.errorName ?? '', String(message.body[0] ?? message.errorName)));
  }

  #answer(call: BusMessage): void {
    const answer = this.onCall(call);
    const head = { serial: ++this.#serial, replyTo: call.serial, ...(call.sender ? { destination: call.sender } : {}) };
    if (!answer) {
      const errorName = 'org.freedesktop.DBus.Error.UnknownMethod';
      const body = [`there is no method ${call.interface}.${call.member}`];
      this.#socket.send(encodeMessage({ ...head, type: 'error', errorName, signature: 's', body, descriptors: [] }));
      return;
    }
    const { signature, body, descriptor } = answer;
    const descriptors = descriptor === undefined ? [] : [descriptor];
    this.#socket.send(encodeMessage({ ...head, type: 'reply', signature, body, descriptors }), descriptor);
  }

  #end(error: Error, tell: boolean): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#timer?.cancel();
    this.#socket.close();
    for (const descriptor of this.#descriptors.splice(0)) closeSync(descriptor);
    for (const { reject } of this.#waiting.values()) reject(error);
    if (tell) this.onEnd(error);
  }
}

/** The path of a bus address; of several, the first that is one. */
function socketPath(address: string): string {
  for (const one of address.split(';')) {
    const match = /^unix:(?:.*,)?(path|abstract)=([^,]+)/.exec(one);
    if (match) return (match[1] === 'abstract' ? '@' : '') + decodeURIComponent(match[2]!);
  }
  throw new BusError(
    'org.freedesktop.DBus.Error.BadAddress',
    `${JSON.stringify(address)} is not the address of a bus on a unix socket`,
  );
}

import { isNetlinkError } from './errors.ts';
import { type MessageWriter, messageFlag, type NetlinkMessage, readAttributes } from './message.ts';
import { NetlinkSocket } from './socket.ts';

/** The family that tells about the others (linux/genetlink.h). */
const controller = { family: 0x10, getFamily: 3, attribute: { familyId: 1, familyName: 2 } } as const;

/** A socket that speaks to one family of generic netlink, whose number is found by its name. */
export class GenericSocket {
  readonly #socket: NetlinkSocket;
  readonly #family: number;
  readonly #version: number;

  private constructor(socket: NetlinkSocket, family: number, version: number) {
    this.#socket = socket;
    this.#family = family;
    this.#version = version;
  }

  /** Gives undefined when the kernel has no such family. @throws NetlinkError */
  static open(
    name: string,
    options: { version?: number; namespace?: string | number } = {},
  ): GenericSocket | undefined {
    const { version = 1, namespace } = options;
    const socket = new NetlinkSocket({ protocol: 'generic', ...(namespace === undefined ? {} : { namespace }) });
    try {
      const [answer] = socket.request(
        controller.family,
        0,
        (writer) => writer.bytes(header(controller.getFamily, 1)).string(controller.attribute.familyName, name),
        `find the netlink family ${name}`,
      );
      const id = answer && readAttributes(answer.payload, 4).get(controller.attribute.familyId)?.readUInt16LE(0);
      if (id === undefined) throw new Error(`the kernel told no number of the netlink family ${name}`);
      return new GenericSocket(socket, id, version);
    } catch (error) {
      socket.close();
      if (isNetlinkError(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** One acknowledged request. The answers' attributes begin behind four bytes. @throws NetlinkError */
  request(command: number, write: (writer: MessageWriter) => void, subject: string): NetlinkMessage[] {
    return this.#socket.request(
      this.#family,
      0,
      (writer) => write(writer.bytes(header(command, this.#version))),
      subject,
    );
  }

  /** Several acknowledged requests, sent together; each has its error, or undefined. @throws NetlinkError when they cannot be sent */
  requests(
    list: readonly { command: number; write: (writer: MessageWriter) => void }[],
    subject: string,
  ): (Error | undefined)[] {
    if (list.length === 0) return [];
    const writer = this.#socket.writer(64 * 1024);
    const numbers: number[] = [];
    for (const { command, write } of list) {
      write(writer.begin(this.#family, messageFlag.acknowledge).bytes(header(command, this.#version)));
      numbers.push(writer.sequence);
    }
    const failed = new Map(this.#socket.sendBatch(writer, subject).map((error) => [error.sequence, error]));
    return numbers.map((number) => failed.get(number));
  }

  /** All that a command lists. @throws NetlinkError */
  dump(command: number, write: (writer: MessageWriter) => void, subject: string): NetlinkMessage[] {
    return this.#socket.dump(this.#family, (writer) => write(writer.bytes(header(command, this.#version))), subject);
  }

  close(): void {
    this.#socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

const header = (command: number, version: number): Buffer => Buffer.from([command, version, 0, 0]);

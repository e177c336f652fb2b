import {
  attributeString,
  bytesToIp,
  eachAttribute,
  ipToBytes,
  isIPv6,
  isNetlinkError,
  type MessageWriter,
  messageFlag,
  NetlinkError,
  NetlinkSocket,
  parsePrefix,
  readAttributes,
} from '../netlink/index.ts';
import type { KernelSet, SetDefinition, SetMember, SetType } from './types.ts';

/** Commands, attributes and flags of ipset (linux/netfilter/ipset/ip_set.h), protocol 7. */
const subsystem = 6 << 8;
const command = { create: 2, destroy: 3, flush: 4, list: 7, add: 9, delete: 10, type: 13 } as const;
const top = {
  protocol: 1,
  name: 2,
  type: 3,
  revision: 4,
  family: 5,
  data: 7,
  members: 8,
  line: 9,
  leastRevision: 10,
} as const;
const data = {
  address: 1,
  port: 4,
  portTo: 5,
  protocol: 7,
  prefix: 3,
  hashSize: 18,
  maximum: 19,
  second: 20,
  secondPrefix: 21,
  references: 25,
} as const;
const addressOf = { 4: 1, 6: 2 } as const;
const protocolVersion = 7;
const networkOrder = 0x4000;
const family = { 4: 2, 6: 10 } as const;
const protocols = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const protocolNames = new Map<number, keyof typeof protocols>([
  [6, 'TCP'],
  [17, 'UDP'],
  [132, 'SCTP'],
]);
/** What the kernel answers besides the usual errors (enum ipset_errno). */
const ownErrors: Readonly<Record<number, string>> = {
  4097: 'the kernel speaks another version of the protocol',
  4098: 'the kernel has no such type of set',
  4100: 'it is in use',
  4102: 'there is a set of that name of another type',
  4103: 'it is there already, or it is not there',
  4108: 'a rule or a set refers to it',
  4352: 'the set is full',
};

/** The kernel's sets of addresses and ports (ipset), over netlink. */
export class IpsetSocket {
  readonly #socket: NetlinkSocket;
  readonly #revisions = new Map<string, number>();

  /** @throws NetlinkError */
  constructor(options: { namespace?: string | number } = {}) {
    this.#socket = new NetlinkSocket({ protocol: 'netfilter', ...options });
  }

  /** Makes a set, unless one of that name and type is there. @throws NetlinkError */
  create({ name, type, family: version, maximum = 65_536 }: SetDefinition): void {
    this.#request(
      command.create,
      (writer) => {
        writer.string(top.name, name).string(top.type, type);
        writer
          .u8(top.revision, this.#revision(type, version))
          .u8(top.family, type === 'bitmap:port' ? 0 : family[version]);
        writer.nest(top.data, () => {
          if (type === 'bitmap:port') writer.be16(data.port | networkOrder, 0).be16(data.portTo | networkOrder, 65_535);
          else writer.be32(data.hashSize | networkOrder, 1024).be32(data.maximum | networkOrder, maximum);
        });
      },
      `make the set ${name}`,
      messageFlag.create,
    );
  }

  /** Adds members; those that are in it already are no error. Many go in one message. @throws NetlinkError */
  add(name: string, type: SetType, members: readonly SetMember[]): void {
    this.#change(command.add, name, { type, members, what: 'add to' });
  }

  /** Takes members out; those that are not in it are no error. @throws NetlinkError */
  delete(name: string, type: SetType, members: readonly SetMember[]): void {
    this.#change(command.delete, name, { type, members, what: 'take out of' });
  }

  /** Removes a set. Gives false when there is none. @throws NetlinkError (4100, 4108) while something refers to it */
  destroy(name: string): boolean {
    try {
      const write = (writer: MessageWriter) => writer.string(top.name, name);
      // Without the flag the kernel does not tell that there is none.
      this.#request(command.destroy, write, `remove the set ${name}`, messageFlag.exclusive);
      return true;
    } catch (error) {
      if (isNetlinkError(error, 'ENOENT')) return false;
      throw error;
    }
  }

  /** One set, or all. @throws NetlinkError */
  list(name?: string): KernelSet[] {
    const found = new Map<string, KernelSet>();
    try {
      const write = (writer: MessageWriter): void => {
        writer.bytes(netfilterHeader(4)).u8(top.protocol, protocolVersion);
        if (name !== undefined) writer.string(top.name, name);
      };
      // A large set comes in several messages.
      for (const { payload } of this.#socket.dump(subsystem | command.list, write, `list ${name ?? 'sets'}`))
        readSet(payload, found);
    } catch (error) {
      if (isNetlinkError(error, 'ENOENT')) return [];
      throw error;
    }
    return [...found.values()];
  }

  close(): void {
    this.#socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  /** The newest form of a type that the kernel knows. */
  #revision(type: SetType, version: 4 | 6): number {
    const key = `${type} ${version}`;
    const known = this.#revisions.get(key);
    if (known !== undefined) return known;
    const [answer] = this.#request(
      command.type,
      (writer) => writer.string(top.type, type).u8(top.family, type === 'bitmap:port' ? 0 : family[version]),
      `ask for the type of set ${type}`,
    );
    const revision = (answer && readAttributes(answer.payload, 4).get(top.revision)?.[0]) ?? 0;
    this.#revisions.set(key, revision);
    return revision;
  }

  #change(
    what: number,
    name: string,
    { type, members, what: words }: { type: SetType; members: readonly SetMember[]; what: string },
  ): void {
    for (let at = 0; at < members.length; at += membersInMessage) {
      const part = members.slice(at, at + membersInMessage);
      this.#request(
        what,
        (writer) => {
          writer.string(top.name, name);
          writer.be32(top.line | networkOrder, 1);
          writer.nest(top.members, () => {
            for (const member of part) writer.nest(top.data, () => writeMember(writer, type, member));
          });
        },
        `${words} the set ${name}`,
      );
    }
  }

  #request(what: number, write: (writer: MessageWriter) => void, subject: string, flags = 0) {
    try {
      return this.#socket.request(
        subsystem | what,
        flags,
        (writer) => write(writer.bytes(netfilterHeader(4)).u8(top.protocol, protocolVersion)),
        subject,
      );
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      const own = ownErrors[error.errno];
      throw own ? new NetlinkError(error.errno, `${subject}: ${own}`) : error;
    }
  }
}

/** All of them fit into one attribute of 65,535 bytes. */
const membersInMessage = 500;

const netfilterHeader = (version: 4 | 6): Buffer => Buffer.from([family[version], 0, 0, 0]);

function writeMember(writer: MessageWriter, type: SetType, { address, protocol, port, second }: SetMember): void {
  if (address !== undefined) writeAddress(writer, data.address, address);
  if (port !== undefined) writer.be16(data.port | networkOrder, port);
  if (protocol !== undefined && type !== 'bitmap:port') writer.u8(data.protocol, protocols[protocol]);
  if (second === undefined) return;
  const [base = ''] = second.split('/');
  writeAddress(writer, data.second, base);
  if (type === 'hash:ip,port,net') writer.u8(data.secondPrefix, parsePrefix(second).prefixLength);
}

function writeAddress(writer: MessageWriter, type: number, address: string): void {
  const kind = addressOf[isIPv6(address) ? 6 : 4];
  writer.nest(type, () => writer.attribute(kind | networkOrder, ipToBytes(address)));
}

function readSet(payload: Buffer, found: Map<string, KernelSet>): void {
  const attributes = readAttributes(payload, 4);
  const name = attributeString(attributes.get(top.name));
  const set = found.get(name) ?? {
    name,
    type: attributeString(attributes.get(top.type)),
    family: attributes.get(top.family)?.[0] === family[6] ? (6 as const) : (4 as const),
    members: [],
    references: 0,
  };
  found.set(name, set);
  const head = attributes.get(top.data);
  if (head) set.references = readAttributes(head).get(data.references)?.readUInt32BE(0) ?? set.references;
  const list = attributes.get(top.members);
  if (list) for (const [, value] of eachAttribute(list)) set.members.push(readMember(set.type as SetType, value));
}

function readMember(type: SetType, value: Buffer): SetMember {
  const attributes = readAttributes(value);
  const address = readIp(attributes.get(data.address));
  const port = attributes.get(data.port)?.readUInt16BE(0);
  const protocol = protocolNames.get(attributes.get(data.protocol)?.[0] ?? 0);
  const second = readIp(attributes.get(data.second));
  const prefix = attributes.get(data.secondPrefix)?.[0];
  const whole = second?.includes(':') ? 128 : 32;
  return {
    ...(address === undefined ? {} : { address }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(port === undefined ? {} : { port }),
    ...(second === undefined ? {} : { second: type === 'hash:ip,port,net' ? `${second}/${prefix ?? whole}` : second }),
  };
}

function readIp(value: Buffer | undefined): string | undefined {
  const inner = value && readAttributes(value);
  const bytes = inner?.get(addressOf[4]) ?? inner?.get(addressOf[6]);
  return bytes && bytesToIp(bytes);
}

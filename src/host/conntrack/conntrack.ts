import { bytesToIp, isNetlinkError, NetlinkSocket, readAttributes } from '../netlink/index.ts';

const subsystem = 1 << 8;
const message = { get: subsystem | 1, delete: subsystem | 2 } as const;
const attribute = { original: 1, reply: 2, id: 12, zone: 18 } as const;

/** One direction of a flow. */
export interface FlowDirection {
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
}

/** A connection that the kernel tracks. */
export interface Flow {
  family: 4 | 6;
  /** IP protocol number: 6 TCP, 17 UDP, 132 SCTP. */
  protocol: number;
  /** As the first packet was, before any translation. */
  original: FlowDirection;
  /** As answers come back: its source is where the packets really go. */
  reply: FlowDirection;
  /** What the kernel needs to find it again. */
  handle: { tuple: Buffer; id?: Buffer; zone?: Buffer };
}

/** Connection tracking over netlink. */
export class ConntrackSocket {
  readonly #reader: NetlinkSocket;
  readonly #writer: NetlinkSocket;

  /** @throws NetlinkError */
  constructor(options: { namespace?: string | number } = {}) {
    this.#reader = new NetlinkSocket({ protocol: 'netfilter', ...options });
    this.#writer = new NetlinkSocket({ protocol: 'netfilter', ...options });
  }

  /** The flows of a family and protocol, as the kernel hands them out; the table is never held as a whole. */
  *list(select: { family: 4 | 6; protocol: number }): Generator<Flow> {
    const header = Buffer.from([select.family === 4 ? 2 : 10, 0, 0, 0]);
    const messages = this.#reader.stream(message.get, (writer) => writer.bytes(header), 'list connections');
    for (const { payload } of messages) {
      const attributes = readAttributes(payload, 4);
      const original = attributes.get(attribute.original);
      const reply = attributes.get(attribute.reply);
      if (!original || !reply || protocolOf(original) !== select.protocol) continue;
      yield {
        family: select.family,
        protocol: select.protocol,
        original: readDirection(original),
        reply: readDirection(reply),
        handle: { tuple: original, id: attributes.get(attribute.id), zone: attributes.get(attribute.zone) },
      };
    }
  }

  /** Forgets a flow. Gives false when it was gone already, or another has taken its place. */
  delete(flow: Flow): boolean {
    const { tuple, id, zone } = flow.handle;
    try {
      this.#writer.request(
        message.delete,
        0,
        (writer) => {
          writer.bytes(Buffer.from([flow.family === 4 ? 2 : 10, 0, 0, 0]));
          writer.attribute(attribute.original | 0x8000, tuple);
          if (id) writer.attribute(attribute.id, id);
          if (zone) writer.attribute(attribute.zone, zone);
        },
        `forget the connection ${flow.original.source} to ${flow.original.destination}`,
      );
      return true;
    } catch (error) {
      if (isNetlinkError(error, 'ENOENT')) return false;
      throw error;
    }
  }

  close(): void {
    this.#reader.close();
    this.#writer.close();
  }
}

function protocolOf(tuple: Buffer): number {
  const protocol = readAttributes(tuple).get(2);
  return (protocol && readAttributes(protocol).get(1)?.[0]) ?? 0;
}

function readDirection(tuple: Buffer): FlowDirection {
  const attributes = readAttributes(tuple);
  const addresses = readAttributes(attributes.get(1) ?? Buffer.alloc(0));
  const protocol = readAttributes(attributes.get(2) ?? Buffer.alloc(0));
  return {
    source: bytesToIp(addresses.get(1) ?? addresses.get(3) ?? Buffer.alloc(4)),
    destination: bytesToIp(addresses.get(2) ?? addresses.get(4) ?? Buffer.alloc(4)),
    sourcePort: protocol.get(2)?.readUInt16BE(0) ?? 0,
    destinationPort: protocol.get(3)?.readUInt16BE(0) ?? 0,
  };
}

import {
  attributeString,
  bytesToIp,
  GenericSocket,
  ipToBytes,
  isIPv6,
  isNetlinkError,
  type MessageWriter,
  readAttributes,
} from '../netlink/index.ts';
import type { IpvsInfo, IpvsTimeouts, RealServer, RealServerState, VirtualServer, VirtualServerKey } from './types.ts';

/** Commands and attributes of the family IPVS (linux/ip_vs.h). */
const command = {
  newService: 1,
  setService: 2,
  deleteService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  deleteDestination: 7,
  getDestination: 8,
  setConfig: 12,
  getConfig: 13,
  getInfo: 15,
} as const;
const top = { service: 1, destination: 2, timeoutTcp: 4, timeoutTcpFin: 5, timeoutUdp: 6 } as const;
const service = {
  addressFamily: 1,
  protocol: 2,
  address: 3,
  port: 4,
  firewallMark: 5,
  scheduler: 6,
  flags: 7,
  timeout: 8,
  netmask: 9,
} as const;
const destination = {
  address: 1,
  port: 2,
  forwarding: 3,
  weight: 4,
  upperThreshold: 5,
  lowerThreshold: 6,
  activeConnections: 7,
  inactiveConnections: 8,
  persistentConnections: 9,
  addressFamily: 11,
} as const;
const persistent = 0x1;
const schedulerFlags = 0x38;
const masquerade = 0;
const forwardingMask = 0x7;
const addressFamily = { 4: 2, 6: 10 } as const;
const protocols = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const protocolNames = new Map<number, keyof typeof protocols>([
  [6, 'TCP'],
  [17, 'UDP'],
  [132, 'SCTP'],
]);

/** A change of the kernel's tables. */
export type IpvsChange =
  | { kind: 'add-server' | 'set-server'; server: VirtualServer }
  | { kind: 'delete-server'; server: VirtualServerKey }
  | { kind: 'add-real' | 'set-real'; server: VirtualServerKey; real: RealServer }
  | { kind: 'delete-real'; server: VirtualServerKey; real: Pick<RealServer, 'address' | 'port'> };

/** The kernel's load balancer (IPVS), over generic netlink. */
export class IpvsSocket {
  readonly #socket: GenericSocket;

  private constructor(socket: GenericSocket) {
    this.#socket = socket;
  }

  /** Gives undefined when the kernel has no IPVS. @throws NetlinkError */
  static open(options: { namespace?: string | number } = {}): IpvsSocket | undefined {
    const socket = GenericSocket.open('IPVS', options);
    return socket && new IpvsSocket(socket);
  }

  info(): IpvsInfo {
    const [answer] = this.#socket.request(command.getInfo, () => {}, 'ask for the version of IPVS');
    const attributes = readAttributes(answer!.payload, 4);
    const version = attributes.get(1)?.readUInt32LE(0) ?? 0;
    return {
      version: [version >>> 16, (version >>> 8) & 0xff, version & 0xff].join('.'),
      connectionTableSize: attributes.get(2)?.readUInt32LE(0) ?? 0,
    };
  }

  timeouts(): IpvsTimeouts {
    const [answer] = this.#socket.request(command.getConfig, () => {}, 'ask for the timeouts of IPVS');
    const attributes = readAttributes(answer!.payload, 4);
    const read = (type: number): number => attributes.get(type)?.readUInt32LE(0) ?? 0;
    return { tcp: read(top.timeoutTcp), tcpFin: read(top.timeoutTcpFin), udp: read(top.timeoutUdp) };
  }

  /** 0 leaves one as it is. */
  setTimeouts({ tcp, tcpFin, udp }: IpvsTimeouts): void {
    this.#socket.request(
      command.setConfig,
      (writer) => writer.u32(top.timeoutTcp, tcp).u32(top.timeoutTcpFin, tcpFin).u32(top.timeoutUdp, udp),
      'set the timeouts of IPVS',
    );
  }

  /** All virtual servers that are known by an address; those by firewall mark are left out. */
  servers(): VirtualServer[] {
    return this.#socket
      .dump(command.getService, () => {}, 'list virtual servers')
      .flatMap(({ payload }) => {
        const nested = readAttributes(payload, 4).get(top.service);
        const found = nested && readServer(nested);
        return found ? [found] : [];
      });
  }

  /** The real servers of a virtual one; none when there is no such server. */
  realServers(server: VirtualServerKey): RealServerState[] {
    try {
      return this.#socket
        .dump(
          command.getDestination,
          (writer) => writer.nest(top.service, () => writeKey(writer, server)),
          `list the real servers of ${describe(server)}`,
        )
        .flatMap(({ payload }) => {
          const nested = readAttributes(payload, 4).get(top.destination);
          return nested ? [readReal(nested, isIPv6(server.address))] : [];
        });
    } catch (error) {
      if (isNetlinkError(error, 'ESRCH', 'ENOENT')) return [];
      throw error;
    }
  }

  /** Makes changes in order, all sent at once; gives the error of each, or undefined. One that fails holds up no other. */
  apply(changes: readonly IpvsChange[]): (Error | undefined)[] {
    const errors: (Error | undefined)[] = [];
    for (let at = 0; at < changes.length; at += largestBatch) {
      const part = changes.slice(at, at + largestBatch);
      errors.push(...this.#socket.requests(part.map(toRequest), 'change virtual servers'));
    }
    return errors;
  }

  close(): void {
    this.#socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The answers to so many requests fit into a socket's buffer. */
const largestBatch = 512;

function toRequest(change: IpvsChange): { command: number; write: (writer: MessageWriter) => void } {
  switch (change.kind) {
    case 'add-server':
    case 'set-server':
      return {
        command: change.kind === 'add-server' ? command.newService : command.setService,
        write: (writer) => writer.nest(top.service, () => writeServer(writer, change.server)),
      };
    case 'delete-server':
      return {
        command: command.deleteService,
        write: (writer) => writer.nest(top.service, () => writeKey(writer, change.server)),
      };
    case 'add-real':
    case 'set-real':
      return {
        command: change.kind === 'add-real' ? command.newDestination : command.setDestination,
        write: (writer) => {
          writer.nest(top.service, () => writeKey(writer, change.server));
          writer.nest(top.destination, () => {
            writeRealKey(writer, change.real);
            writer.u32(destination.forwarding, masquerade).u32(destination.weight, change.real.weight);
            writer.u32(destination.upperThreshold, 0).u32(destination.lowerThreshold, 0);
          });
        },
      };
    case 'delete-real':
      return {
        command: command.deleteDestination,
        write: (writer) => {
          writer.nest(top.service, () => writeKey(writer, change.server));
          writer.nest(top.destination, () => writeRealKey(writer, change.real));
        },
      };
  }
}

/** Addresses take sixteen bytes, whatever their family. */
function padded(address: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.set(ipToBytes(address));
  return bytes;
}

function writeKey(writer: MessageWriter, { address, port, protocol }: VirtualServerKey): void {
  writer.u16(service.addressFamily, addressFamily[isIPv6(address) ? 6 : 4]);
  writer.u16(service.protocol, protocols[protocol]);
  writer.attribute(service.address, padded(address)).be16(service.port, port);
}

function writeServer(writer: MessageWriter, server: VirtualServer): void {
  writeKey(writer, server);
  const flags = Buffer.alloc(8);
  flags.writeUInt32LE((server.persistenceSeconds > 0 ? persistent : 0) | (server.schedulerFlags & schedulerFlags), 0);
  flags.writeUInt32LE(0xffffffff, 4);
  writer.string(service.scheduler, server.scheduler).attribute(service.flags, flags);
  // A whole address for each client: 32 bits of mask, or a prefix of 128.
  writer.u32(service.timeout, server.persistenceSeconds);
  writer.u32(service.netmask, isIPv6(server.address) ? 128 : 0xffffffff);
}

function writeRealKey(writer: MessageWriter, { address, port }: Pick<RealServer, 'address' | 'port'>): void {
  writer.u16(destination.addressFamily, addressFamily[isIPv6(address) ? 6 : 4]);
  writer.attribute(destination.address, padded(address)).be16(destination.port, port);
}

function readServer(nested: Buffer): VirtualServer | undefined {
  const attributes = readAttributes(nested);
  if (attributes.has(service.firewallMark)) return undefined;
  const isSix = attributes.get(service.addressFamily)?.readUInt16LE(0) === addressFamily[6];
  const protocol = protocolNames.get(attributes.get(service.protocol)?.readUInt16LE(0) ?? 0);
  if (!protocol) return undefined;
  const flags = attributes.get(service.flags)?.readUInt32LE(0) ?? 0;
  return {
    address: readAddress(attributes.get(service.address), isSix),
    port: attributes.get(service.port)?.readUInt16BE(0) ?? 0,
    protocol,
    scheduler: attributeString(attributes.get(service.scheduler)),
    persistenceSeconds: flags & persistent ? (attributes.get(service.timeout)?.readUInt32LE(0) ?? 0) : 0,
    schedulerFlags: flags & schedulerFlags,
  };
}

function readReal(nested: Buffer, ofSix: boolean): RealServerState {
  const attributes = readAttributes(nested);
  const family = attributes.get(destination.addressFamily)?.readUInt16LE(0);
  const number = (type: number): number => attributes.get(type)?.readUInt32LE(0) ?? 0;
  if ((number(destination.forwarding) & forwardingMask) !== masquerade) return { ...foreign, ...address() };
  return {
    ...address(),
    weight: number(destination.weight),
    activeConnections: number(destination.activeConnections),
    inactiveConnections: number(destination.inactiveConnections),
    persistentConnections: number(destination.persistentConnections),
  };
  function address(): Pick<RealServer, 'address' | 'port'> {
    const isSix = family === undefined ? ofSix : family === addressFamily[6];
    return {
      address: readAddress(attributes.get(destination.address), isSix),
      port: attributes.get(destination.port)?.readUInt16BE(0) ?? 0,
    };
  }
}

/** One that is forwarded to in another way than ours: it is never what is wanted. */
const foreign = { weight: -1, activeConnections: 0, inactiveConnections: 0, persistentConnections: 0 };

const readAddress = (bytes: Buffer = Buffer.alloc(16), isSix: boolean): string =>
  bytesToIp(bytes.subarray(0, isSix ? 16 : 4));

const describe = ({ address, port, protocol }: VirtualServerKey): string => `${address}:${port}/${protocol}`;

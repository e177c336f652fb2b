import {
  type Attribute,
  addressBytes,
  addressHeader,
  decodeAttributes,
  encodeAttributes,
  familyOf,
  linkHeader,
  requestFlags,
  route,
  routeHeader,
} from './route-messages.ts';
import type { RouteRequest, RouteSocket } from './route-socket.ts';

const upFlag = 1;
const attribute = {
  address: 1,
  name: 3,
  mtu: 4,
  master: 10,
  protocolInfo: 12,
  linkInfo: 18,
  statistics: 23,
  namespaceFd: 28,
};

/** A link as the kernel tells of it. */
export interface Link {
  index: number;
  name: string;
  up: boolean;
  /** `02:42:…`; empty for links without. */
  hardwareAddress: string;
  /** Index of the bridge to which it belongs; 0 for none. */
  master: number;
  mtu: number;
  statistics: {
    rxBytes: bigint;
    txBytes: bigint;
    rxErrors: bigint;
    txErrors: bigint;
    rxPackets: bigint;
    txPackets: bigint;
    rxDropped: bigint;
    txDropped: bigint;
  };
}

function decodeLink(payload: Buffer): Link {
  const attributes = decodeAttributes(payload.subarray(16));
  const counters = attributes.get(attribute.statistics);
  const counter = (index: number): bigint =>
    counters && counters.length >= index * 8 + 8 ? counters.readBigUInt64LE(index * 8) : 0n;
  return {
    index: payload.readInt32LE(4),
    name: attributes.get(attribute.name)?.toString('utf8').replace(/\0$/, '') ?? '',
    up: (payload.readUInt32LE(8) & upFlag) !== 0,
    hardwareAddress: attributes.get(attribute.address)?.toString('hex').match(/../g)?.join(':') ?? '',
    master: attributes.get(attribute.master)?.readUInt32LE(0) ?? 0,
    mtu: attributes.get(attribute.mtu)?.readUInt32LE(0) ?? 0,
    statistics: {
      rxPackets: counter(0),
      txPackets: counter(1),
      rxBytes: counter(2),
      txBytes: counter(3),
      rxErrors: counter(4),
      txErrors: counter(5),
      rxDropped: counter(6),
      txDropped: counter(7),
    },
  };
}

/** One link by its name; undefined when there is none. */
export function getLink(socket: RouteSocket, name: string): Link | undefined {
  try {
    const [answer] = socket.query({
      what: `look at link ${name}`,
      type: route.getLink,
      payload: Buffer.concat([linkHeader(), encodeAttributes([[attribute.name, name]])]),
    });
    return answer && decodeLink(answer.payload);
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ENODEV') return undefined;
    throw cause;
  }
}

/** All links of the socket's namespace. */
export function listLinks(socket: RouteSocket): Link[] {
  return socket
    .query({ what: 'list links', type: route.getLink, flags: requestFlags.dump, payload: linkHeader() })
    .filter(({ type }) => type === route.newLink)
    .map(({ payload }) => decodeLink(payload));
}

/** Makes a bridge with a hardware address of its own (so that it does not change with its ports); it may be there. */
export function createBridge(name: string, hardwareAddress: string, mtu: number): RouteRequest {
  const attributes: Attribute[] = [
    [attribute.name, name],
    [attribute.address, Buffer.from(hardwareAddress.replaceAll(':', ''), 'hex')],
    [attribute.mtu, mtu],
    [attribute.linkInfo, [[1, 'bridge']]],
  ];
  return {
    what: `make bridge ${name}`,
    type: route.newLink,
    flags: requestFlags.create | requestFlags.exclusive,
    payload: Buffer.concat([linkHeader({ flags: upFlag, change: upFlag }), encodeAttributes(attributes)]),
    accept: ['EEXIST'],
  };
}

/** Makes a pair of links: one here, in a bridge and up, the other in the namespace of an open descriptor. */
export function createVethPair(pair: {
  name: string;
  master: number;
  mtu: number;
  peerName: string;
  peerNamespaceFd: number;
}): RouteRequest {
  const peer = Buffer.concat([
    linkHeader(),
    encodeAttributes([
      [attribute.name, pair.peerName],
      [attribute.mtu, pair.mtu],
      [attribute.namespaceFd, pair.peerNamespaceFd],
    ]),
  ]);
  const attributes: Attribute[] = [
    [attribute.name, pair.name],
    [attribute.mtu, pair.mtu],
    [attribute.master, pair.master],
    [
      attribute.linkInfo,
      [
        [1, 'veth'],
        [2, [[1, peer]]],
      ],
    ],
  ];
  return {
    what: `make link ${pair.name}`,
    type: route.newLink,
    flags: requestFlags.create | requestFlags.exclusive,
    payload: Buffer.concat([linkHeader({ flags: upFlag, change: upFlag }), encodeAttributes(attributes)]),
  };
}

/** Brings a link up. */
export function setLinkUp(index: number): RouteRequest {
  return {
    what: `bring link ${index} up`,
    type: route.newLink,
    payload: linkHeader({ index, flags: upFlag, change: upFlag }),
  };
}

/** Removes a link (and its peer); nothing there is no error. */
export function deleteLink(name: string): RouteRequest {
  return {
    what: `remove link ${name}`,
    type: route.deleteLink,
    payload: Buffer.concat([linkHeader(), encodeAttributes([[attribute.name, name]])]),
    accept: ['ENODEV'],
  };
}

/** Gives a link an address; it may have it. */
export function addAddress(index: number, address: string, prefixLength: number): RouteRequest {
  const bytes = addressBytes(address);
  return {
    what: `give link ${index} the address ${address}/${prefixLength}`,
    type: route.newAddress,
    flags: requestFlags.create | requestFlags.replace,
    payload: Buffer.concat([
      addressHeader(familyOf(address), prefixLength, index),
      encodeAttributes([
        [2, bytes],
        [1, bytes],
      ]),
    ]),
    accept: ['EEXIST'],
  };
}

/** A route to one address (or, without `destination`, to everything) by a link, directly or through a gateway. */
export function addRoute(options: {
  index: number;
  destination?: string;
  gateway?: string;
  source?: string;
  family?: number;
}): RouteRequest {
  const { destination, gateway } = options;
  const family = options.family ?? familyOf(destination ?? gateway ?? '');
  const attributes: Attribute[] = [[4, options.index]];
  if (destination) attributes.push([1, addressBytes(destination)]);
  if (gateway) attributes.push([5, addressBytes(gateway)]);
  if (options.source) attributes.push([7, addressBytes(options.source)]);
  const prefixLength = destination ? (family === 10 ? 128 : 32) : 0;
  return {
    what: `add a route to ${destination ?? 'everything'}`,
    type: route.newRoute,
    flags: requestFlags.create | requestFlags.replace,
    payload: Buffer.concat([
      routeHeader(family, prefixLength, gateway ? 'universe' : 'link'),
      encodeAttributes(attributes),
    ]),
  };
}

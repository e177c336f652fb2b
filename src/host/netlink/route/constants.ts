/** Message types of rtnetlink (linux/rtnetlink.h). */
export const routeMessage = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  delAddress: 21,
  getAddress: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  delNeighbour: 29,
  getNeighbour: 30,
  newDiscipline: 36,
  delDiscipline: 37,
  newFilter: 44,
} as const;

/** Multicast groups of rtnetlink. */
export const routeGroup = {
  link: 1,
  neighbour: 3,
  ipv4Address: 5,
  ipv4Route: 7,
  ipv6Address: 9,
  ipv6Route: 11,
} as const;

/** Attributes of a link (linux/if_link.h). */
export const linkAttribute = {
  address: 1,
  broadcast: 2,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  txQueueLength: 13,
  operState: 16,
  linkInfo: 18,
  protInfo: 12,
  netnsPid: 19,
  alias: 20,
  netnsFd: 28,
  netnsId: 37,
  afSpec: 26,
  statistics64: 23,
} as const;

/** Inside `linkInfo`. */
export const linkInfoAttribute = { kind: 1, data: 2, portKind: 4, portData: 5 } as const;

/** Inside `afSpec`, by address family: what IPv6 does with the link. Mode 1: it gets no link-local address. */
export const ipv6LinkAttribute = { addressMode: 8 } as const;

/** Inside a veth's data: the other end. */
export const vethPeer = 1;

/** Inside a bridge port's `protInfo` (AF_BRIDGE). */
export const bridgePortAttribute = { state: 1, mode: 4, guard: 5, learning: 8, unicastFlood: 9, isolated: 33 } as const;

/** Attributes of an address (linux/if_addr.h). */
export const addressAttribute = { address: 1, local: 2, label: 3, broadcast: 4, flags: 8 } as const;

/** Attributes of a neighbour (linux/neighbour.h). */
export const neighbourAttribute = { destination: 1, hardwareAddress: 2 } as const;

/** States of a neighbour. */
export const neighbourState = { permanent: 0x80 } as const;

/** Attributes of a route. */
export const routeAttribute = {
  destination: 1,
  source: 2,
  inputLink: 3,
  outputLink: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  table: 15,
} as const;

/** Link flags (linux/if.h). */
export const linkFlag = { up: 0x1, loopback: 0x8, running: 0x40, promiscuous: 0x100 } as const;

/** Address families. */
export const family = { unspecified: 0, ipv4: 2, bridge: 7, ipv6: 10 } as const;

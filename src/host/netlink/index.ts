export { bytesToIp, ipToBytes, isInPrefix, isIPv4, isIPv6, parsePrefix } from './address.ts';
export { isNetlinkError, NetlinkError } from './errors.ts';
export { GenericSocket } from './generic.ts';
export {
  attributeString,
  eachAttribute,
  MessageWriter,
  messageFlag,
  messageType,
  type NetlinkMessage,
  readAttributes,
  readMessages,
} from './message.ts';
export { addAddress, deleteAddress, type LinkAddress, listAddresses } from './route/addresses.ts';
export * from './route/constants.ts';
export {
  changeBridgePort,
  changeLink,
  createLink,
  deleteLink,
  deleteLinkOnThread,
  findLink,
  type Link,
  type LinkChange,
  type LinkStatistics,
  listLinks,
  type NewLink,
  readLink,
} from './route/links.ts';
export { lookUpRoute, type RouteAnswer } from './route/lookup.ts';
export { deleteNeighbour, listNeighbours, type Neighbour, setNeighbour } from './route/neighbours.ts';
export { addRoute, deleteRoute, listRoutes, type Route } from './route/routes.ts';
export { limitRate, type Rate, redirectIncoming, unlimitRate } from './route/traffic-control.ts';
export { NetlinkSocket, type NetlinkSocketOptions, netlinkProtocol, readError } from './socket.ts';

export { bytesToIp, ipToBytes, isIPv4, isIPv6 } from './address.ts';
export { errnoName, isNetlinkError, NetlinkError } from './errors.ts';
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
export * from './route.ts';
export * from './route-constants.ts';
export { inNamespace, NetlinkSocket, type NetlinkSocketOptions, netlinkProtocol, readError } from './socket.ts';

export {
  addAddress,
  addRoute,
  createBridge,
  createVethPair,
  deleteLink,
  getLink,
  type Link,
  listLinks,
  setLinkUp,
} from './links.ts';
export { addressBytes } from './route-messages.ts';
export { LinkError, type RouteRequest, RouteSocket } from './route-socket.ts';

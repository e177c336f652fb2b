export { connectInNamespace } from './connect-in-namespace.ts';
export { connectPacketSocket } from './packet-socket.ts';
export { openTerminal, type Terminal } from './terminal.ts';

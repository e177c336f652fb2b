export { connectInNamespace } from './connect-in-namespace.ts';
export { DescriptorStream } from './descriptor-stream.ts';
export { connectPacketSocket } from './packet-socket.ts';

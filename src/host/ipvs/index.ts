export { type IpvsChange, IpvsSocket } from './ipvs-socket.ts';
export {
  type IpvsInfo,
  type IpvsTimeouts,
  type RealServer,
  type RealServerState,
  schedulerFlag,
  type VirtualServer,
  type VirtualServerKey,
} from './types.ts';

export { type CallOptions, createGrpcClient, type GrpcClient } from './grpc-client.ts';
export { type GrpcCode, GrpcError } from './grpc-error.ts';
export {
  type CallContext,
  type GrpcServer,
  type GrpcService,
  grpcService,
  type Handlers,
  refuseServed,
  serveGrpc,
} from './serve-grpc.ts';
export { maxMessageBytes } from './service-definition.ts';

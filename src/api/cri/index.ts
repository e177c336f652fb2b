/** The CRI v1: messages, enums and the two services (RuntimeService, ImageService), as generated from runtime.proto. */
export * from './generated/runtime_pb.js';

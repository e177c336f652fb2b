/** The CSI 1.x: messages, enums and three services (Identity, Controller, Node), as generated from csi.proto. */
export * from './generated/csi_pb.js';

import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

/** Methods of a service descriptor by their name in lowerCamelCase. */
export type Methods<S> = S extends GenService<infer M extends GenServiceMethods> ? M : never;

/** Largest message, bytes; as upstream's CRI clients allow. */
export const maxMessageBytes = 16 * 1024 * 1024;

/** A protobuf-es method as grpc-js wants it. */
export function toMethodDefinition(service: DescService, method: DescMethod): MethodDefinition<any, any> {
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: (value) => encode(method.input, value),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (value) => encode(method.output, value),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

/** A protobuf-es service as grpc-js wants it. */
export function toServiceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, toMethodDefinition(service, method)]));
}

/** Encodes a message, or the plain object that makes one. */
function encode<D extends DescMessage>(schema: D, value: MessageShape<D>): Buffer {
  const message = value.$typeName === undefined ? create(schema, value as never) : value;
  const bytes = toBinary(schema, message as MessageShape<D>);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

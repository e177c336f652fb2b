import {
  create,
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import { Client, credentials, Metadata, type CallOptions as WireOptions } from '@grpc/grpc-js';
import { systemClock } from '../../async/index.ts';
import { GrpcError } from './grpc-error.ts';
import { type Methods, maxMessageBytes, toMethodDefinition } from './service-definition.ts';

/** Options of one call. */
export interface CallOptions {
  /** Deadline from now, milliseconds. Default none. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Metadata to send along. */
  metadata?: Readonly<Record<string, string>>;
}

/** The methods of a service as functions; streaming methods give async iterables. `close()` drops the connection. */
export type GrpcClient<S> = {
  [K in keyof Methods<S>]: Methods<S>[K] extends {
    methodKind: 'server_streaming';
    input: infer I extends DescMethod['input'];
    output: infer O extends DescMethod['output'];
  }
    ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
    : Methods<S>[K] extends { input: infer I extends DescMethod['input']; output: infer O extends DescMethod['output'] }
      ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
      : never;
} & { close(): void };

/**
 * Connects (lazily, and again when the server comes back) to a service.
 * @param endpoint `unix:///path`, `/path` or `host:port`
 * @param options `userAgent`: who we say we are, before the library's own name; `ownConnection`: shares none with others
 */
export function createGrpcClient<M extends GenServiceMethods>(
  descriptor: GenService<M>,
  endpoint: string,
  options: { userAgent?: string; ownConnection?: boolean } = {},
): GrpcClient<GenService<M>> {
  const target = endpoint.startsWith('/') ? `unix://${endpoint}` : endpoint;
  const channel = new Client(target, credentials.createInsecure(), {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    // A server on the same machine is back within moments: look often.
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.min_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
    ...(options.userAgent ? { 'grpc.primary_user_agent': options.userAgent } : {}),
    ...(options.ownConnection ? { 'grpc.use_local_subchannel_pool': 1 } : {}),
  });
  const client: Record<string, unknown> = { close: () => channel.close() };
  for (const method of (descriptor as DescService).methods) {
    const definition = toMethodDefinition(descriptor, method);
    client[method.localName] =
      method.methodKind === 'server_streaming'
        ? (request: object, options: CallOptions = {}) =>
            streamCall(channel, definition, create(method.input, request as never), options)
        : (request: object, options: CallOptions = {}) =>
            unaryCall(channel, definition, create(method.input, request as never), options);
  }
  return client as GrpcClient<GenService<M>>;
}

type Definition = ReturnType<typeof toMethodDefinition>;

function deadlineOf({ timeoutMs }: CallOptions): WireOptions {
  return timeoutMs === undefined ? {} : { deadline: new Date(systemClock.now() + timeoutMs) };
}

function metadataOf({ metadata = {} }: CallOptions): Metadata {
  const result = new Metadata();
  for (const [name, value] of Object.entries(metadata)) result.set(name, value);
  return result;
}

function unaryCall(
  channel: Client,
  { path, requestSerialize, responseDeserialize }: Definition,
  request: unknown,
  options: CallOptions,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(options.signal.reason);
    const call = channel.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadataOf(options),
      deadlineOf(options),
      (error, response) => {
        options.signal?.removeEventListener('abort', cancel);
        if (!error) resolve(response);
        else reject(options.signal?.aborted ? options.signal.reason : GrpcError.from(error));
      },
    );
    const cancel = (): void => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
  });
}

async function* streamCall(
  channel: Client,
  { path, requestSerialize, responseDeserialize }: Definition,
  request: unknown,
  options: CallOptions,
): AsyncIterable<unknown> {
  const call = channel.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
    metadataOf(options),
    deadlineOf(options),
  );
  const cancel = (): void => call.cancel();
  options.signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const response of call) yield response;
  } catch (error) {
    throw options.signal?.aborted ? options.signal.reason : GrpcError.from(error);
  } finally {
    options.signal?.removeEventListener('abort', cancel);
    call.cancel();
  }
}

import { chmod, chown, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { GrpcError } from './grpc-error.ts';
import { type Methods, maxMessageBytes, toServiceDefinition } from './service-definition.ts';

/** What a handler knows of its call besides the request. */
export interface CallContext {
  /** Aborts when the caller has gone or its deadline has passed. */
  signal: AbortSignal;
  /** When the caller stops waiting, milliseconds since 1970; undefined when never. */
  deadlineMs?: number;
  /** A value of the call's metadata; undefined when it has none of that name. */
  metadata(name: string): string | undefined;
}

/** The handlers of a service: a method gives a response, a streaming method an async iterable of them. */
export type Handlers<S> = {
  [K in keyof Methods<S>]?: Methods<S>[K] extends {
    methodKind: 'server_streaming';
    input: infer I extends DescMethod['input'];
    output: infer O extends DescMethod['output'];
  }
    ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
    : Methods<S>[K] extends { input: infer I extends DescMethod['input']; output: infer O extends DescMethod['output'] }
      ? (request: MessageShape<I>, context: CallContext) => Promise<MessageInitShape<O>> | MessageInitShape<O>
      : never;
};

/** A service with its handlers; methods without one answer UNIMPLEMENTED. */
export interface GrpcService {
  descriptor: DescService;
  handlers: Record<string, ((request: any, context: CallContext) => any) | undefined>;
}

/** Ties a service to its handlers, checked against each other. */
export function grpcService<M extends GenServiceMethods>(
  descriptor: GenService<M>,
  handlers: Handlers<GenService<M>>,
): GrpcService {
  return { descriptor, handlers: handlers as GrpcService['handlers'] };
}

/** A gRPC server on a unix socket. */
export interface GrpcServer {
  close(): Promise<void>;
}

/**
 * Serves on a unix socket (`/path` or `unix:///path`). A socket file that nobody serves any more is replaced.
 * @throws Error when another process serves it
 */
export async function serveGrpc(
  endpoint: string,
  services: readonly GrpcService[],
  options: { mode?: number; group?: number; onError?: (method: string, error: GrpcError) => void } = {},
): Promise<GrpcServer> {
  const path = endpoint.replace(/^unix:(\/\/)?/, '');
  await refuseServed(path);
  await rm(path, { force: true });
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  });
  for (const { descriptor, handlers } of services) {
    const implementation = Object.fromEntries(
      descriptor.methods.map((method) => [
        method.localName,
        implement(descriptor, method, handlers[method.localName], options.onError),
      ]),
    );
    server.addService(toServiceDefinition(descriptor), implementation);
  }
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(new Error(`cannot listen on ${path}: ${error.message}`, { cause: error })) : resolve(),
    );
  });
  if (options.group !== undefined) await chown(path, -1, options.group);
  await chmod(path, options.mode ?? 0o660);
  return {
    close: async () => {
      server.forceShutdown();
      await rm(path, { force: true });
    },
  };
}

function contextOf(
  call: Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'metadata'> & {
    on(event: 'cancelled', listener: () => void): unknown;
  },
): CallContext {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort(new GrpcError('CANCELLED', 'the caller has gone')));
  const deadline = Number(call.getDeadline());
  return {
    signal: controller.signal,
    ...(Number.isFinite(deadline) ? { deadlineMs: deadline } : {}),
    metadata: (name) => call.metadata.get(name)[0]?.toString(),
  };
}

function implement(
  service: DescService,
  method: DescMethod,
  handler: ((request: any, context: CallContext) => any) | undefined,
  onError?: (method: string, error: GrpcError) => void,
) {
  const fail = (error: unknown): { code: number; details: string; metadata: Metadata } => {
    const failure = GrpcError.from(error);
    onError?.(method.name, failure);
    return { code: failure.number, details: failure.message, metadata: new Metadata() };
  };
  const call =
    handler ??
    (() => {
      throw new GrpcError('UNIMPLEMENTED', `${service.typeName}/${method.name} is not implemented`);
    });
  if (method.methodKind === 'server_streaming') {
    return async (stream: ServerWritableStream<unknown, unknown>) => {
      const context = contextOf(stream);
      try {
        for await (const response of call(stream.request, context)) {
          if (!stream.write(response))
            await new Promise<void>((resolve) => {
              stream.once('drain', resolve);
              context.signal.addEventListener('abort', () => resolve(), { once: true });
            });
          if (context.signal.aborted) return;
        }
        stream.end();
      } catch (error) {
        if (!context.signal.aborted) stream.emit('error', fail(error));
      }
    };
  }
  return async (one: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    try {
      callback(null, await call(one.request, contextOf(one)));
    } catch (error) {
      callback(fail(error));
    }
  };
}

/** Makes sure that nobody serves a unix socket. @throws Error when somebody does */
export async function refuseServed(path: string): Promise<void> {
  if (await someoneServes(path)) throw new Error(`another process serves ${path}: stop it, or choose another socket`);
}

/** Whether connecting to a unix socket succeeds. */
function someoneServes(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

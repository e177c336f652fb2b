import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf';
import {
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';
import { createGrpcClient, GrpcError } from '../../wire/grpc/index.ts';
import { bracket } from '../pods/hooks.ts';
import type { FairTimeout } from './fair-timeout.ts';

interface HealthClient {
  check(request: { service: string }, options: { timeoutMs: number; signal: AbortSignal }): Promise<{ status: number }>;
  close(): void;
}

const statuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

let descriptor: DescService | undefined;

/**
 * Asks a server about its health (gRPC health checking protocol, grpc.health.v1).
 * @returns undefined when it serves, otherwise the text that says why not
 */
export async function checkHealth(
  host: string,
  port: number,
  service: string,
  { timeoutMs, limit }: { timeoutMs: number; limit: FairTimeout },
): Promise<string | undefined> {
  descriptor ??= healthService();
  const address = `${bracket(host)}:${port}`;
  const client = createGrpcClient(descriptor as never, address, {
    userAgent: 'kube-probe/1.36',
    ownConnection: true,
  }) as unknown as HealthClient;
  try {
    const { status } = await client.check(
      { service },
      // The limit decides; the deadline, which the server is told, is only a little behind it.
      { timeoutMs: timeoutMs + 500, signal: limit.signal },
    );
    return status === 1 ? undefined : `service unhealthy (responded with "${statuses[status] ?? status}")`;
  } catch (error) {
    const late = `timeout: failed to connect service "${address}" within ${timeoutMs / 1000}s`;
    if (limit.isOver) return late;
    if (!(error instanceof GrpcError)) throw error;
    if (error.code === 'UNIMPLEMENTED') {
      return 'error: this server does not implement the grpc health protocol (grpc.health.v1.Health)';
    }
    if (error.code === 'DEADLINE_EXCEEDED' || error.code === 'UNAVAILABLE') {
      return late;
    }
    return `error: health rpc probe failed: ${error.message}`;
  } finally {
    client.close();
  }
}

/** The service's description, made here: it is one method with two one-field messages. */
function healthService(): DescService {
  const field = (name: string, type: Type, typeName?: string) => ({
    name,
    number: 1,
    label: Label.OPTIONAL,
    type,
    ...(typeName ? { typeName } : {}),
  });
  const file = create(FileDescriptorProtoSchema, {
    name: 'grpc/health/v1/health.proto',
    package: 'grpc.health.v1',
    syntax: 'proto3',
    messageType: [
      { name: 'HealthCheckRequest', field: [field('service', Type.STRING)] },
      { name: 'HealthCheckResponse', field: [field('status', Type.INT32)] },
    ],
    service: [
      {
        name: 'Health',
        method: [
          {
            name: 'Check',
            inputType: '.grpc.health.v1.HealthCheckRequest',
            outputType: '.grpc.health.v1.HealthCheckResponse',
          },
        ],
      },
    ],
  });
  return createFileRegistry(file, () => undefined).getService('grpc.health.v1.Health')!;
}

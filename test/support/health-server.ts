import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';

/** A gRPC server that answers health checks (grpc.health.v1) as it is told, and notes who asked. */
export class HealthServer {
  /** By service name: 1 serving, 2 not serving; others are unknown (3). */
  readonly statuses = new Map<string, number>([['', 1]]);
  readonly userAgents = new Set<string>();
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(): Promise<HealthServer> {
    const server = new Server();
    const holder: { self?: HealthServer } = {};
    // One string or one number in field 1: no need for a schema.
    const definition: ServiceDefinition = {
      check: {
        path: '/grpc.health.v1.Health/Check',
        requestStream: false,
        responseStream: false,
        requestSerialize: (value: Buffer) => value,
        requestDeserialize: (value: Buffer) => value,
        responseSerialize: (value: Buffer) => value,
        responseDeserialize: (value: Buffer) => value,
      },
    };
    const implementation: UntypedServiceImplementation = {
      check: (call: any, callback: any) => {
        const { self } = holder;
        const request = call.request as Buffer;
        const service = request.length > 2 ? request.subarray(2).toString() : '';
        self!.userAgents.add(String(call.metadata.get('user-agent')[0] ?? ''));
        callback(null, Buffer.from([0x08, self!.statuses.get(service) ?? 3]));
      },
    };
    server.addService(definition, implementation);
    const port = await new Promise<number>((resolve, reject) => {
      const address = '0.0.0.0:0';
      server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    holder.self = new HealthServer(server, port);
    return holder.self;
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

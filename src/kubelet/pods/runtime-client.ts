import { ImageService, RuntimeService } from '../../api/cri/index.ts';
import { createGrpcClient, type GrpcClient, GrpcError } from '../../wire/grpc/index.ts';

/** The two services of a container runtime. */
export interface RuntimeClient {
  runtime: GrpcClient<typeof RuntimeService>;
  images: GrpcClient<typeof ImageService>;
  close(): void;
}

/** Connects to a runtime (lazily). Endpoints are `unix:///path`. */
export function connectRuntime(runtimeEndpoint: string, imageEndpoint = runtimeEndpoint): RuntimeClient {
  const runtime = createGrpcClient(RuntimeService, runtimeEndpoint);
  const images = createGrpcClient(ImageService, imageEndpoint);
  return {
    runtime,
    images,
    close: () => {
      runtime.close();
      images.close();
    },
  };
}

/** Whether an error of the runtime says that the thing does not exist. */
export function isNotFound(error: unknown): boolean {
  return error instanceof GrpcError && error.code === 'NOT_FOUND';
}

/** Whether the runtime does not know the method. */
export function isUnimplemented(error: unknown): boolean {
  return error instanceof GrpcError && error.code === 'UNIMPLEMENTED';
}

/** Whether nobody answered at the runtime's socket. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof GrpcError && error.code === 'UNAVAILABLE';
}

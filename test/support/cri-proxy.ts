import { ImageService, RuntimeService } from '../../src/api/cri/index.ts';
import {
  type CallContext,
  createGrpcClient,
  GrpcError,
  type GrpcServer,
  serveGrpc,
} from '../../src/wire/grpc/index.ts';

/** What becomes of a call: it never answers, nobody is there, the runtime does not know it; undefined: it goes on. */
export type Fate = 'hang' | 'unavailable' | 'unimplemented' | undefined;

/** Stands between a kubelet and its runtime, and does to calls what runtimes do on bad days. */
export class CriProxy implements AsyncDisposable {
  /** Decides about each call, by its name in lowerCamelCase. May be replaced at any time. */
  fate: (method: string, request: any) => Fate = () => undefined;
  /** How often each method was called. */
  readonly counts = new Map<string, number>();
  readonly #ends = new Set<AbortController>();
  readonly #clients: { close(): void }[] = [];
  #server: GrpcServer | undefined;

  /** Serves on a unix socket; calls go on to the socket `target`, which need not be there yet. */
  static async start(socketPath: string, target: string): Promise<CriProxy> {
    const proxy = new CriProxy();
    const services = [RuntimeService, ImageService].map((descriptor) => {
      const client = createGrpcClient(descriptor as typeof RuntimeService, target) as unknown as Record<string, any> & {
        close(): void;
      };
      proxy.#clients.push(client);
      const handlers = Object.fromEntries(
        descriptor.methods.map(({ localName, methodKind }) => [
          localName,
          methodKind === 'server_streaming'
            ? (request: object, context: CallContext) => proxy.#stream(client[localName], localName, request, context)
            : (request: object, context: CallContext) => proxy.#call(client[localName], localName, request, context),
        ]),
      );
      return { descriptor, handlers };
    });
    proxy.#server = await serveGrpc(socketPath, services);
    return proxy;
  }

  /** Lets calls through again, and ends streams and calls that hang. */
  heal(): void {
    this.fate = () => undefined;
    this.cut();
  }

  /** Breaks off whatever is under way, as when the runtime dies. */
  cut(): void {
    for (const end of this.#ends) end.abort(new GrpcError('UNAVAILABLE', 'the runtime is away'));
  }

  async #call(
    forward: (request: object, options: object) => Promise<any>,
    name: string,
    request: object,
    context: CallContext,
  ) {
    const end = this.#begin(name);
    const signal = AbortSignal.any([context.signal, end.signal]);
    try {
      if (this.#judge(name, request) === 'hang') return await aborted(signal);
      return await Promise.race([forward(request, { signal }), aborted(signal)]);
    } finally {
      this.#ends.delete(end);
    }
  }

  async *#stream(
    forward: (request: object, options: object) => AsyncIterable<any>,
    name: string,
    request: object,
    context: CallContext,
  ) {
    const end = this.#begin(name);
    const signal = AbortSignal.any([context.signal, end.signal]);
    try {
      if (this.#judge(name, request) === 'hang') await aborted(signal);
      yield* forward(request, { signal });
    } catch (error) {
      throw end.signal.aborted ? end.signal.reason : error;
    } finally {
      this.#ends.delete(end);
    }
  }

  #begin(name: string): AbortController {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    const end = new AbortController();
    this.#ends.add(end);
    return end;
  }

  #judge(name: string, request: object): Fate {
    const fate = this.fate(name, request);
    if (fate === 'unavailable') throw new GrpcError('UNAVAILABLE', 'the runtime is away');
    if (fate === 'unimplemented') throw new GrpcError('UNIMPLEMENTED', `unknown method ${name}`);
    return fate;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await this.#server?.close();
    for (const client of this.#clients) client.close();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  return promise;
}

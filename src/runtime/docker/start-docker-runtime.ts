import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock, Component, StopOptions } from '../../async/index.ts';
import { openCgroups } from '../../host/cgroups/index.ts';
import type { FileLock } from '../../host/files/index.ts';
import type { Logger } from '../../log/index.ts';
import { type GrpcServer, refuseServed, serveGrpc } from '../../wire/grpc/index.ts';
import { CallLog, TracedRunner } from '../calls/index.ts';
import { EventHub } from '../events/event-hub.ts';
import { toNanoseconds } from '../identifiers.ts';
import { lockDirectories } from '../lock-directories.ts';
import { makeFlights } from '../make-flights.ts';
import { BridgeNetwork } from '../network/bridge/bridge-network.ts';
import { selectNetwork } from '../network/select-network.ts';
import { probeKernel } from '../probe-kernel.ts';
import { openStore } from '../store/store.ts';
import { StreamingServer } from '../streaming/streaming-server.ts';
import type { DockerContext, DockerSettings } from './docker-context.ts';
import { Engine } from './engine/index.ts';
import { EngineImages } from './images/engine-images.ts';
import { LogFollowers } from './logs/log-followers.ts';
import { collectNetworks } from './reconcile.ts';
import { removeSandbox } from './sandboxes/stop-sandbox.ts';
import { dockerServices } from './services.ts';
import { DiskUsage } from './stats/disk-usage.ts';
import { serveStream } from './streams/serve-stream.ts';
import { watchEvents } from './watch-events.ts';

/**
 * Serves the CRI on a unix socket and has a Docker Engine do the work, so that a kubelet can have its pods there. Waits
 * for the engine; what a former run left is adopted before the first call is answered.
 */
export function startDockerRuntime(settings: DockerSettings, options: { log: Logger; clock: Clock }): Component {
  const adapter = new DockerRuntime(settings, options);
  return { ready: adapter.ready, stop: (stop) => adapter.stop(stop) };
}

class DockerRuntime {
  readonly ready: Promise<void>;
  readonly #settings: DockerSettings;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #end = new AbortController();
  #context: DockerContext | undefined;
  #server: GrpcServer | undefined;
  #lock: FileLock | undefined;
  #watching: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;

  constructor(settings: DockerSettings, { log, clock }: { log: Logger; clock: Clock }) {
    this.#settings = settings;
    this.#log = log;
    this.#clock = clock;
    this.ready = this.#start().catch((cause: unknown) => {
      this.#lock?.release();
      throw cause;
    });
    this.ready.catch(() => {});
  }

  stop(options: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(options);
    return this.#stopped;
  }

  async #start(): Promise<void> {
    const settings = this.#settings;
    for (const path of [settings.root, settings.state]) await mkdir(path, { recursive: true, mode: 0o711 });
    await mkdir(dirname(settings.listen), { recursive: true });
    await refuseServed(settings.listen);
    this.#lock = lockDirectories({ root: settings.root, state: settings.state });
    const context = await makeContext(settings, this.#log, this.#clock);
    this.#context = context;
    const first = Promise.withResolvers<void>();
    this.#watching = watchEvents(context, this.#end.signal, first.resolve);
    await Promise.race([first.promise, this.#watching]);
    this.#end.signal.throwIfAborted();
    await collectNetworks(context);
    await context.streaming.listen(settings.streamingAddress, settings.streamingPort);
    this.#server = await serveGrpc(settings.listen, dockerServices(context), {
      mode: 0o660,
      onError: (method, error) => this.#log.debug('call failed', { method, code: error.code, error }),
    });
    this.#log.info('the CRI is served', { socket: settings.listen, engine: settings.docker });
  }

  async #stop({ remove }: StopOptions): Promise<void> {
    if (!this.#server) this.#end.abort(new Error('stopped'));
    await this.ready.catch(() => {});
    await this.#server?.close();
    const context = this.#context;
    if (context && remove) {
      await Promise.all(context.store.sandboxes.list().map(({ id }) => removeSandbox(context, id)));
      await context.network.remove();
      await context.bridge.remove();
    }
    this.#end.abort(new Error('stopped'));
    await this.#watching;
    await context?.streaming.close();
    await context?.logs.stop();
    context?.engine.close();
    this.#lock?.release();
  }
}

async function makeContext(settings: DockerSettings, log: Logger, clock: Clock): Promise<DockerContext> {
  const engine = new Engine(settings.docker, clock);
  const bridge = await BridgeNetwork.open({
    name: settings.bridgeName,
    ...(settings.mtu ? { mtu: settings.mtu } : {}),
    ...(settings.podCidr ? { podCidr: settings.podCidr } : {}),
    file: join(settings.root, 'network.json'),
    log,
    clock,
  });
  const context: DockerContext = {
    settings,
    engine,
    log,
    clock,
    store: await openStore(settings.root, log),
    images: new EngineImages(engine, { clock, sandboxImage: settings.sandboxImage }),
    logs: new LogFollowers(engine, { clock, log }),
    rootfs: new DiskUsage(engine, clock),
    network: await selectNetwork(settings, bridge, { log, clock }),
    bridge,
    cgroups: openCgroups(),
    events: new EventHub({}, toNanoseconds(clock.now())),
    streaming: new StreamingServer({
      clock,
      handler: (stream, connection) => serveStream(context, stream, connection),
      onError: (error) => log.debug('stream failed', { error }),
    }),
    kernel: probeKernel(),
    serial: new TracedRunner(),
    calls: new CallLog(clock),
    flights: makeFlights(),
    outOfMemory: new Set(),
    unknownCapabilities: new Set(),
  };
  return context;
}

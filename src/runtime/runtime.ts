import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock, Component, StopOptions } from '../async/index.ts';
import { openCgroups } from '../host/cgroups/index.ts';
import type { FileLock } from '../host/files/index.ts';
import { releaseInQuietMoments } from '../host/memory/index.ts';
import type { Logger } from '../log/index.ts';
import { type GrpcServer, refuseServed, serveGrpc } from '../wire/grpc/index.ts';
import type { HttpServer } from '../wire/http/index.ts';
import { adopt } from './adopt.ts';
import { CallLog, TracedRunner } from './calls/index.ts';
import { glanceAtExits, noteExit, noteLostExits } from './containers/exited.ts';
import { ExitWatcher } from './containers/exits.ts';
import { OciRuntime } from './containers/oci-runtime.ts';
import { statePaths } from './containers/paths.ts';
import type { RuntimeContext } from './context.ts';
import { criServices } from './cri/services.ts';
import { EventHub } from './events/event-hub.ts';
import { featuresOf } from './features/index.ts';
import { toNanoseconds } from './identifiers.ts';
import { type ImageStore, openImageStore, type StoreFinding } from './images/index.ts';
import { checkImages, type Pruned, pruneImages } from './images-admin.ts';
import { lockDirectories } from './lock-directories.ts';
import { makeFlights } from './make-flights.ts';
import { serveMetrics } from './metrics-server.ts';
import { BridgeNetwork } from './network/bridge/bridge-network.ts';
import { selectNetwork } from './network/select-network.ts';
import { probeKernel } from './probe-kernel.ts';
import { removeSandbox } from './sandboxes/stop-sandbox.ts';
import { changedSettings, type RuntimeSettings, resolveSettings } from './settings/index.ts';
import { openSnapshots } from './snapshots/index.ts';
import { openStore } from './store/store.ts';
import { StreamingServer } from './streaming/streaming-server.ts';

/** The runtime as a component, with what other parts of the same process may use directly. */
export interface Runtime extends Component {
  /** The images of this runtime, for imports; available when ready. */
  images(): ImageStore;
  /** Removes images that nothing uses: those without a tag, or all but pinned ones. */
  pruneImages(options: { all: boolean }): Promise<Pruned>;
  /** What is wrong with images and root file systems on disk. Deep: every file is read. */
  checkImages(options: { deep: boolean }): Promise<StoreFinding[]>;
  /** Takes over what may change while it runs (see settings/table.ts), and names what changed. */
  reload(settings: RuntimeSettings): { applied: string[]; needRestart: string[] };
}

/**
 * Starts a container runtime that serves the CRI on a unix socket. What a former run left is adopted before the first
 * call is answered.
 */
export function startRuntime(settings: RuntimeSettings, options: { log: Logger; clock: Clock }): Runtime {
  const runtime = new RunningRuntime(options.log);
  const ready = runtime.start(settings, options.clock);
  ready.catch(() => {});
  return {
    ready,
    stop: (stop) => runtime.stop(stop),
    images: () => runtime.context!.images,
    pruneImages: (how) => pruneImages(runtime.context!, how),
    checkImages: (how) => checkImages(runtime.context!, how),
    reload: (to) => runtime.reload(to),
  };
}

class RunningRuntime {
  readonly #log: Logger;
  #server: GrpcServer | undefined;
  #exits: ExitWatcher | undefined;
  #metrics: HttpServer | undefined;
  #lock: FileLock | undefined;
  #starting: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  readonly #end = new AbortController();
  context: RuntimeContext | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  start(settings: RuntimeSettings, clock: Clock): Promise<void> {
    this.#starting = this.#start(settings, clock).catch((cause: unknown) => {
      this.#lock?.release();
      throw cause;
    });
    return this.#starting;
  }

  async #start(given: RuntimeSettings, clock: Clock): Promise<void> {
    const settings = resolveSettings(given);
    const paths = statePaths(settings.state);
    for (const path of [settings.root, settings.state, paths.bundles, paths.sandboxes, paths.exits, paths.ociRoot])
      await mkdir(path, { recursive: true, mode: 0o711 });
    await mkdir(dirname(settings.listen), { recursive: true });
    await refuseServed(settings.listen);
    this.#lock = lockDirectories({ root: settings.root, state: settings.state });
    const exits = new ExitWatcher({
      directory: paths.exits,
      clock,
      log: this.#log,
      onExit: ({ id }) => noteExit(context, id),
      onSweep: () => void noteLostExits(context).catch((error: unknown) => this.#failed('look for lost exits', error)),
      onGlance: () => void glanceAtExits(context).catch((error: unknown) => this.#failed('look for lost exits', error)),
    });
    this.#exits = exits;
    const context = await makeContext({ settings, log: this.#log, clock, exits });
    this.context = context;
    await adopt(context);
    await exits.start();
    await context.streaming.listen(settings.streamingAddress, settings.streamingPort);
    if (settings.metricsAddress) this.#metrics = await serveMetrics(context, settings.metricsAddress);
    this.#server = await serveGrpc(settings.listen, criServices(context), {
      mode: Number.parseInt(settings.socketMode, 8),
      ...(settings.socketGroup === undefined ? {} : { group: settings.socketGroup }),
      onError: (method, error) => this.#log.debug('call failed', { method, code: error.code, error }),
    });
    void releaseInQuietMoments(clock, this.#end.signal);
    // Found out by now, the first status is told without a wait for it.
    for (const name of context.ociRuntimes.keys())
      void featuresOf(context, name).catch((error: unknown) => this.#failed('probe of an OCI runtime', error));
    const [sandboxes, containers] = [context.store.sandboxes.list(), context.store.containers.list()];
    this.#log.info('runtime is serving', {
      socket: settings.listen,
      sandboxes: sandboxes.length,
      containers: containers.filter(({ phase }) => phase.name === 'running').length,
    });
  }

  stop(options: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(options);
    return this.#stopped;
  }

  async #stop({ remove }: StopOptions): Promise<void> {
    this.#end.abort(new Error('stopped'));
    await this.#starting.catch(() => {});
    await this.#server?.close();
    await this.#metrics?.close();
    const { context } = this;
    if (context && remove) {
      await Promise.all(context.store.sandboxes.list().map((sandbox) => removeSandbox(context, sandbox)));
      await context.network.remove();
      await context.bridge.remove();
      await context.cgroups.remove(context.settings.cgroupParent, { clock: context.clock });
    }
    this.#exits?.stop();
    await context?.streaming.close();
    await context?.images.close();
    this.#lock?.release();
  }

  reload(given: RuntimeSettings): { applied: string[]; needRestart: string[] } {
    const { settings } = this.context!;
    const next = resolveSettings(given);
    const changed = changedSettings(settings, next);
    const names = (live: boolean) => changed.filter((one) => one.live === live).map(({ name }) => name);
    // Whoever uses a live setting reads it when it uses it.
    for (const name of names(true)) Object.assign(settings, { [name]: next[name] });
    return { applied: names(true), needRestart: names(false) };
  }

  #failed(what: string, error: unknown): void {
    this.#log.error('background work failed', { what, error });
  }
}

async function makeContext(options: {
  settings: RuntimeContext['settings'];
  log: Logger;
  clock: Clock;
  exits: ExitWatcher;
}): Promise<RuntimeContext> {
  const { settings, log, clock, exits } = options;
  const paths = statePaths(settings.state);
  const rootfs = await openSnapshots({ root: join(settings.root, 'snapshots'), images: () => images, clock });
  const [store, images] = await Promise.all([
    openStore(settings.root, log),
    openImageStore({
      root: join(settings.root, 'images'),
      registries: () => settings.registries,
      ...pick(settings, 'registryHostsDirectory', 'registriesConf', 'registryAuthFiles', 'maxParallelLayers'),
      ...pick(settings, 'maximumLayerBytes', 'maximumLayerEntries', 'pullProgressTimeoutMs'),
      pinned: settings.pinnedImages,
      layersInUse: () => rootfs.layersInUse(),
      log,
      clock,
    }),
  ]);
  const bridge = await BridgeNetwork.open({
    name: settings.bridgeName,
    ...(settings.mtu ? { mtu: settings.mtu } : {}),
    ...(settings.podCidr ? { podCidr: settings.podCidr } : {}),
    ...(settings.bridgeRules ? { rules: settings.bridgeRules } : {}),
    file: join(settings.root, 'network.json'),
    log,
    clock,
  });
  const context: RuntimeContext = {
    settings,
    log,
    clock,
    paths,
    store,
    images,
    rootfs,
    network: await selectNetwork(settings, bridge, { log, clock }),
    bridge,
    cgroups: openCgroups(),
    ociRuntimes: new Map(
      settings.runtimes.map(({ name, path }) => [
        name,
        new OciRuntime({ name, path, root: paths.ociRoot, clock, timeoutMs: settings.ociTimeoutMs }),
      ]),
    ),
    events: new EventHub({}, toNanoseconds(clock.now())),
    streaming: new StreamingServer({
      clock,
      // What speaks the dialects of streams is loaded with the first one.
      handler: async (stream, connection) => {
        const { serveStream } = await import('./streaming/serve-stream.ts');
        await serveStream(context, stream, connection);
      },
      onError: (error) => log.debug('stream failed', { error }),
      ...(await streamingTls(settings.streamingTls)),
    }),
    kernel: probeKernel(),
    serial: new TracedRunner(),
    calls: new CallLog(clock),
    flights: makeFlights(),
    exitWaiters: new Map(),
    readExit: (id) => exits.read(id),
    forgetExit: (id) => exits.forget(id),
  };
  return context;
}

/** @throws Error naming the file that cannot be read */
async function streamingTls(files: RuntimeSettings['streamingTls']): Promise<{ tls?: { cert: Buffer; key: Buffer } }> {
  if (!files) return {};
  const { certificateFile, keyFile } = files;
  const read = (path: string): Promise<Buffer> =>
    readFile(path).catch((cause: Error) => {
      throw new Error(`streamingTls: cannot read ${path}: ${cause.message}`, { cause });
    });
  const [cert, key] = await Promise.all([read(certificateFile), read(keyFile)]);
  return { tls: { cert, key } };
}

/** Some fields of an object, those that have a value. */
function pick<T extends object, K extends keyof T>(from: T, ...keys: K[]): { [P in K]: NonNullable<T[P]> } {
  return Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]]))) as never;
}

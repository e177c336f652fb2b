import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pluginRegistration } from '../../api/plugins/index.ts';
import { type Clock, KeyedQueue, type Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { createGrpcClient, type GrpcClient } from '../../wire/grpc/index.ts';
import { describeError } from '../errors.ts';
import type { PluginHandler, RegisteredPlugin } from './plugin-handler.ts';

/** What a watcher of plugins needs. */
export interface PluginWatcherOptions {
  /** Where plugins put their sockets: `<root>/plugins_registry`. */
  directory: string;
  /** Who takes plugins, by type (`CSIPlugin`). */
  handlers: Readonly<Record<string, PluginHandler>>;
  clock: Clock;
  log: Logger;
  /** How often the directory is looked at although the kernel told of no change, milliseconds. Default 10,000. */
  rescanMs?: number;
}

/** Longest for a plugin to introduce itself, and to hear what became of it, milliseconds. */
const callTimeoutMs = 5000;

/** A plugin that is registered, and the socket that it was registered by. */
interface Known extends RegisteredPlugin {
  type: string;
  socketId: string;
}

/**
 * Registers plugins: programs that put a socket into a directory, by which they say what they are. Sockets in directories
 * below it count too; names that begin with a dot do not. Level-triggered: what is there is compared with what is
 * registered, socket by socket; failures are tried again after 0.5 s, doubling to 2 min 2 s.
 */
export class PluginWatcher {
  readonly #options: PluginWatcherOptions;
  readonly #queue: KeyedQueue;
  /** Sockets that are there: path → which one (a new socket of the same name is another). */
  #sockets = new Map<string, string>();
  readonly #known = new Map<string, Known>();
  readonly #watchers = new Map<string, FSWatcher>();
  /** Sockets whose registration has been asked for: one that failed waits for its next try, unless it is a new one. */
  readonly #asked = new Map<string, string>();
  readonly #told = new Map<string, string>();
  #scanning: Promise<void> | undefined;
  #again = false;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: PluginWatcherOptions) {
    this.#options = options;
    this.#queue = new KeyedQueue((path, signal) => this.#settle(path, signal), {
      clock: options.clock,
      concurrency: 16,
      retryInitialMs: 500,
      retryMaximumMs: 122_000,
      onError: (path, error) => this.#tell(path, error),
    });
  }

  /** Makes the directory, takes what is there, and goes on in the background. Does not wait for registrations. */
  async start(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o750 });
    await this.scan();
    const again = (): void => {
      void this.scan().finally(() => {
        if (!this.#stopped) this.#timer = this.#options.clock.after(this.#options.rescanMs ?? 10_000, again);
      });
    };
    this.#timer = this.#options.clock.after(this.#options.rescanMs ?? 10_000, again);
  }

  /** Stops looking. Plugins stay registered with their handlers. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    await this.#queue.stop();
  }

  /** The plugins that are registered now. */
  registered(): readonly (RegisteredPlugin & { type: string; socket: string })[] {
    return [...this.#known].map(([socket, plugin]) => ({ ...plugin, socket }));
  }

  /** Looks at the directory now; calls during a look cause one more. */
  scan(): Promise<void> {
    if (this.#scanning) {
      this.#again = true;
      return this.#scanning;
    }
    this.#scanning = this.#look().finally(() => {
      this.#scanning = undefined;
      if (!this.#again || this.#stopped) return;
      this.#again = false;
      void this.scan();
    });
    return this.#scanning;
  }

  async #look(): Promise<void> {
    const found = new Map<string, string>();
    const directories = new Set<string>();
    try {
      await this.#walk(this.#options.directory, found, directories);
    } catch (error) {
      // Nothing is known now: what was known stays.
      this.#tell(this.#options.directory, error);
      return;
    }
    if (this.#stopped) return;
    for (const [directory, watcher] of this.#watchers) {
      if (directories.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    this.#sockets = found;
    for (const path of this.#asked.keys()) {
      if (found.has(path)) continue;
      this.#asked.delete(path);
      this.#told.delete(path);
      this.#queue.add(path);
    }
    for (const [path, id] of found) {
      if (this.#asked.get(path) === id) continue;
      this.#asked.set(path, id);
      this.#queue.add(path);
    }
  }

  async #walk(directory: string, found: Map<string, string>, directories: Set<string>): Promise<void> {
    // First the watch, then the look: what comes in between is seen by one of them.
    this.#watch(directory);
    directories.add(directory);
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        await this.#walk(path, found, directories).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') this.#tell(path, error);
        });
      } else if (entry.isSocket()) {
        const info = await stat(path, { bigint: true }).catch(() => undefined);
        // Not the time of its last change: plugins change the mode of a socket after they have made it.
        if (info) found.set(path, `${info.ino}/${info.birthtimeNs}`);
      }
    }
  }

  #watch(directory: string): void {
    if (this.#watchers.has(directory) || this.#stopped) return;
    try {
      const watcher = watch(directory, { persistent: false }, () => void this.scan());
      const forget = (): void => {
        watcher.close();
        if (this.#watchers.get(directory) === watcher) this.#watchers.delete(directory);
      };
      // The rescan goes on without it.
      watcher.on('error', forget);
      this.#watchers.set(directory, watcher);
    } catch (error) {
      this.#tell(directory, error);
    }
  }

  /** Brings one socket from what is registered to what is there. */
  async #settle(path: string, signal: AbortSignal): Promise<void> {
    const known = this.#known.get(path);
    const socketId = this.#sockets.get(path);
    if (known?.socketId === socketId) return;
    if (known) {
      this.#known.delete(path);
      await this.#options.handlers[known.type]!.deregister(known);
      this.#options.log.info('plugin gone', { type: known.type, plugin: known.name, socket: path });
    }
    if (socketId === undefined) return;
    const client = createGrpcClient(pluginRegistration.Registration, `unix://${path}`);
    try {
      await this.#register(client, path, socketId, signal);
      this.#told.delete(path);
    } finally {
      client.close();
    }
  }

  async #register(client: RegistrationClient, path: string, socketId: string, signal: AbortSignal): Promise<void> {
    const info = await client.getInfo({}, { timeoutMs: callTimeoutMs, signal });
    const plugin: Known = {
      name: info.name,
      endpoint: info.endpoint || path,
      versions: info.supportedVersions,
      type: info.type,
      socketId,
    };
    const handler = Object.hasOwn(this.#options.handlers, info.type) ? this.#options.handlers[info.type] : undefined;
    try {
      if (!handler) {
        const types = Object.keys(this.#options.handlers).join(', ');
        throw new Error(`no handler for plugins of type ${JSON.stringify(info.type)}: this kubelet takes ${types}`);
      }
      await handler.validate(plugin);
      await handler.register(plugin, signal);
    } catch (error) {
      await notify(client, { pluginRegistered: false, error: describeError(error) }, signal);
      throw error;
    }
    this.#known.set(path, plugin);
    try {
      await notify(client, { pluginRegistered: true, error: '' }, signal);
    } catch (error) {
      this.#known.delete(path);
      await handler.deregister(plugin);
      throw error;
    }
    this.#options.log.info('plugin registered', { type: plugin.type, plugin: plugin.name, endpoint: plugin.endpoint });
  }

  /** One line for each failure, not for each try. */
  #tell(path: string, error: unknown): void {
    const text = describeError(error);
    if (this.#told.get(path) === text || this.#stopped) return;
    this.#told.set(path, text);
    this.#options.log.warn('cannot register a plugin', { socket: path, error });
  }
}

type RegistrationClient = GrpcClient<typeof pluginRegistration.Registration>;

async function notify(
  client: RegistrationClient,
  status: { pluginRegistered: boolean; error: string },
  signal: AbortSignal,
): Promise<void> {
  await client.notifyRegistrationStatus(status, { timeoutMs: callTimeoutMs, signal });
}

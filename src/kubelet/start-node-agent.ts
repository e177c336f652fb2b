import { mkdirSync, readFileSync, statSync, utimesSync } from 'node:fs';
import { dirname } from 'node:path';
import type { StopOptions } from '../async/index.ts';
import type { ApiClient } from '../client/index.ts';
import { type FileLock, LockTakenError, lockFile } from '../host/files/index.ts';
import { openNodeAccess } from './certificates/node-access.ts';
import { type KubeletConfig, resolveSettings } from './config/settings.ts';
import { ConfigurationError } from './errors.ts';
import type { PodTimeline } from './pods/ports.ts';
import { type KubeletComponent, type KubeletContext, startKubelet } from './start-kubelet.ts';

/** A kubelet as its command starts it: with files that say how to reach the API server. */
export interface NodeAgentConfig extends Omit<KubeletConfig, 'client'> {
  /** Without one the pods of `staticPodPath` run, and nothing else. */
  kubeconfig?: string;
  bootstrapKubeconfig?: string;
  /** The API server's address, in place of the kubeconfig's. */
  server?: string;
  /** Held while it runs. */
  lockFile?: string;
  /** End as soon as another process opens the lock file. */
  exitOnLockContention?: boolean;
}

/** How the API server knows who calls. */
const userAgent = 'kubelet/v1.36.2 (deckhand)';

/** Time between tries to take the lock, milliseconds. */
const lockRetryMs = 200;

/**
 * Gets what a kubelet needs to talk to its API server (a client certificate, if there is none) and starts it. Until then it is
 * not ready, and may be stopped.
 * @throws ConfigurationError for a configuration that cannot be used
 */
export function startNodeAgent(config: NodeAgentConfig, context: KubeletContext): KubeletComponent {
  if (config.bootstrapKubeconfig && !config.kubeconfig)
    throw new ConfigurationError('--bootstrap-kubeconfig', 'needs --kubeconfig too, to be written there');
  if (config.exitOnLockContention && !config.lockFile)
    throw new ConfigurationError('--exit-on-lock-contention', 'needs --lock-file');
  resolveSettings(config);
  return new NodeAgent(config, context);
}

class NodeAgent implements KubeletComponent {
  readonly ready: Promise<void>;
  readonly #config: NodeAgentConfig;
  readonly #context: KubeletContext;
  readonly #end = new AbortController();
  #kubelet: KubeletComponent | undefined;
  #client: ApiClient | undefined;
  #lock: FileLock | undefined;

  constructor(config: NodeAgentConfig, context: KubeletContext) {
    this.#config = config;
    this.#context = context;
    this.ready = this.#start();
    this.ready.catch(() => {});
  }

  async #start(): Promise<void> {
    const { kubeconfig, bootstrapKubeconfig, server, nodeName, ...config } = this.#config;
    const { clock, log } = this.#context;
    const signal = this.#end.signal;
    if (config.lockFile) this.#lock = await this.#takeLock(config.lockFile);
    if (kubeconfig) {
      const { configuration, certDirectory } = resolveSettings(this.#config);
      const files = {
        kubeconfig,
        ...(bootstrapKubeconfig ? { bootstrapKubeconfig } : {}),
        ...(server ? { server } : {}),
      };
      const rotate = configuration.rotateCertificates;
      const options = { ...files, nodeName, certDirectory, rotate, userAgent, clock, log };
      this.#client = await openNodeAccess(options, signal);
      signal.throwIfAborted();
    }
    const client = this.#client ? { client: this.#client } : {};
    this.#kubelet = startKubelet({ ...config, ...client, nodeName }, this.#context);
    await this.#kubelet.ready;
  }

  /** Waits for the lock; then, if asked to, watches whether anybody else wants it. */
  async #takeLock(path: string): Promise<FileLock> {
    const { clock, log } = this.#context;
    mkdirSync(dirname(path), { recursive: true });
    for (let tries = 0; ; tries++) {
      try {
        const lock = lockFile(path);
        if (this.#config.exitOnLockContention) void this.#watchLock(path);
        return lock;
      } catch (error) {
        if (!(error instanceof LockTakenError)) throw error;
        const now = clock.now() / 1000;
        if (tries === 0) utimesSync(path, now, now);
        if (tries === 0) log.info('waits for the lock', { path, owner: error.owner });
        await clock.sleep(lockRetryMs, this.#end.signal);
      }
    }
  }

  /** Another one waits for the lock (the kernel lists who does), or has touched its file, as ours do. */
  async #watchLock(path: string): Promise<void> {
    const { clock, log } = this.#context;
    const signal = this.#end.signal;
    const { ino, mtimeMs } = statSync(path);
    const waits = new RegExp(`->.*:${ino} `);
    while (!signal.aborted) {
      await clock.sleep(lockRetryMs, signal).catch(() => {});
      const touched = statSync(path, { throwIfNoEntry: false })?.mtimeMs !== mtimeMs;
      if (!touched && !waits.test(readFileSync('/proc/locks', 'utf8'))) continue;
      if (signal.aborted) return;
      log.info('ends: another one asks for the lock', { path });
      process.kill(process.pid, 'SIGTERM');
      return;
    }
  }

  timelines(): PodTimeline[] {
    return this.#kubelet?.timelines() ?? [];
  }

  async stop(options: StopOptions = {}): Promise<void> {
    this.#end.abort(new Error('kubelet stopped'));
    await this.#kubelet?.stop(options);
    await this.ready.catch(() => {});
    this.#client?.close();
    this.#lock?.release();
  }
}

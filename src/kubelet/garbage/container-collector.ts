import { lstat, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { describeError } from '../errors.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import { isNotFound, type RuntimeClient } from '../pods/runtime-client.ts';
import { type ContainerStep, type PodStanding, planContainers } from './container-plan.ts';

/** What a collector of containers needs. */
export interface ContainerCollectorOptions {
  client: RuntimeClient;
  cache: RuntimeCache;
  /** What is known of a pod. Only asked once every source of pods has told all its pods. */
  standing(podUid: string): PodStanding;
  /** Whether all pods are known. */
  allKnown(): boolean;
  podLogsDirectory: string;
  containerLogsDirectory: string;
  /** Says on the Node object what went wrong. */
  nodeEvent(reason: 'ContainerGCFailed', message: string): void;
  clock: Clock;
  log: Logger;
}

/** How often, milliseconds. */
const periodMs = 60_000;

const callTimeoutMs = 120_000;

/** Removes dead containers and sandboxes that are of no use any more, and logs of pods that nobody knows. */
export class ContainerCollector {
  readonly #options: ContainerCollectorOptions;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: ContainerCollectorOptions) {
    this.#options = options;
  }

  /** Looks now and then, until stopped. */
  start(): void {
    const { clock, log, nodeEvent } = this.#options;
    const again = (): void => {
      void this.collect()
        .catch((error: unknown) => {
          if (this.#stopped) return;
          log.warn('garbage collection of containers failed', { error });
          nodeEvent('ContainerGCFailed', describeError(error));
        })
        .finally(() => {
          if (!this.#stopped) this.#timer = clock.after(periodMs, again);
        });
    };
    this.#timer = clock.after(periodMs, again);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Removes what is not needed for the history of pods. @throws Error naming what could not be removed */
  collect(): Promise<void> {
    return this.#oneAtATime(() => this.#collect(false));
  }

  /** Removes all that is dead of pods that have ended, too: eviction asks for it. */
  deleteAllUnused(): Promise<void> {
    return this.#oneAtATime(() => this.#collect(true));
  }

  async #collect(evenEnded: boolean): Promise<void> {
    const { cache, standing, allKnown } = this.#options;
    const ready = allKnown();
    const failures: string[] = [];
    // Containers first; the sandboxes that this empties go in the second round.
    for (const kind of ['remove-container', 'remove-sandbox'] as const) {
      const pods = cache.podUids().map((uid) => cache.pod(uid));
      const steps = planContainers(pods, ready ? standing : () => 'live', { perContainer: 1, evenEnded });
      for (const step of steps) {
        if (step.kind !== kind) continue;
        await this.#act(step).catch((error: unknown) => failures.push(describeError(error)));
      }
    }
    if (ready) await this.#removeLogs().catch((error: unknown) => failures.push(describeError(error)));
    if (failures.length > 0) throw new Error(failures.join('; '));
  }

  async #act(step: ContainerStep): Promise<void> {
    const { client, cache, containerLogsDirectory } = this.#options;
    if (step.kind === 'remove-sandbox') {
      const podSandboxId = step.sandbox.id;
      await ifThere(client.runtime.stopPodSandbox({ podSandboxId }, { timeoutMs: callTimeoutMs }));
      await ifThere(client.runtime.removePodSandbox({ podSandboxId }, { timeoutMs: callTimeoutMs }));
      cache.forgetSandbox(podSandboxId);
      return;
    }
    const { container } = step;
    // What nobody knows the state of may run.
    if (container.state === 'unknown')
      await ifThere(
        client.runtime.stopContainer({ containerId: container.id, timeout: 2n }, { timeoutMs: callTimeoutMs }),
      );
    await ifThere(client.runtime.removeContainer({ containerId: container.id }, { timeoutMs: callTimeoutMs }));
    cache.forgetContainer(container.id);
    const links = await readdir(containerLogsDirectory).catch(() => []);
    for (const name of links)
      if (name.endsWith(`-${container.id}.log`)) await rm(join(containerLogsDirectory, name), { force: true });
    await removeLog(container.logPath);
  }

  /** Directories of logs of pods that are gone, and links to logs that are gone. */
  async #removeLogs(): Promise<void> {
    const { podLogsDirectory, containerLogsDirectory, standing, cache } = this.#options;
    for (const name of await readdir(podLogsDirectory)) {
      const [, , uid] = name.split('_');
      if (uid && standing(uid) === 'gone' && cache.pod(uid).containers.length === 0)
        await rm(join(podLogsDirectory, name), { recursive: true, force: true });
    }
    for (const name of await readdir(containerLogsDirectory).catch(() => [])) {
      const id = /-([0-9a-f]{8,})\.log$/.exec(name)?.[1];
      if (!id) continue;
      const state = cache.container(id)?.state;
      // A log that is being rotated is away for a moment.
      if (state === 'running' || state === 'created') continue;
      const path = join(containerLogsDirectory, name);
      const isLink = await lstat(path)
        .then((info) => info.isSymbolicLink())
        .catch(() => false);
      const there = await stat(path)
        .then(() => true)
        .catch(() => false);
      if (isLink && !there) await rm(path, { force: true });
    }
  }

  #oneAtATime<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(task);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** Waits for the call; what was not there any more is no error. */
async function ifThere(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** A container's log with what was rotated of it. */
async function removeLog(path: string): Promise<void> {
  if (!path) return;
  const directory = dirname(path);
  for (const name of await readdir(directory).catch(() => []))
    if (name === basename(path) || name.startsWith(`${basename(path)}.`))
      await rm(join(directory, name), { force: true });
}

import { isAbsolute, join } from 'node:path';
import type { Pod } from '../../api/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { podLogDirectory } from './names.ts';
import type { PodRecord } from './pod-record.ts';
import type { ContainerView, PodDirectory, PodTimeline } from './ports.ts';
import type { RuntimeCache } from './runtime-cache.ts';
import { type RuntimeContainer, readySandbox } from './runtime-state.ts';
import { everyContainer } from './security-context.ts';

/** What the directory looks things up in. */
export interface PodDirectoryOptions {
  settings: KubeletSettings;
  cache: RuntimeCache;
  records(): PodRecord[];
  timelines(): PodTimeline[];
}

/** The pods of this kubelet as its server looks at them. */
export class KubeletPodDirectory implements PodDirectory {
  readonly #options: PodDirectoryOptions;
  readonly #listeners = new Map<string, Set<() => void>>();

  constructor(options: PodDirectoryOptions) {
    this.#options = options;
  }

  pods(): Pod[] {
    return this.#options
      .records()
      .filter(({ pod }) => pod.spec.containers.length > 0)
      .map(withStatus);
  }

  pod(namespace: string, name: string): Pod | undefined {
    const found = this.#options
      .records()
      .filter(({ pod }) => pod.metadata.name === name && pod.metadata.namespace === namespace);
    // Of two of the same name the one that is not being ended.
    const record = found.find(({ phase }) => phase === 'syncing') ?? found[0];
    return record && withStatus(record);
  }

  podByUid(uid: string): Pod | undefined {
    const record = this.#options
      .records()
      .find(({ pod, mirror }) => pod.metadata.uid === uid || mirror?.metadata.uid === uid);
    return record && withStatus(record);
  }

  container(podUid: string, name: string, options: { previous?: boolean } = {}): ContainerView | undefined {
    const record = this.#options
      .records()
      .find(({ pod, mirror }) => pod.metadata.uid === podUid || mirror?.metadata.uid === podUid);
    if (!record) return undefined;
    const all = this.#options.cache.pod(record.pod.metadata.uid).containers.filter((one) => one.name === name);
    const newest = all[0];
    // In a crash loop the newest has ended already and is itself the previous one of the next.
    const waits = record.status?.containerStatuses?.find((one) => one.name === name)?.state?.waiting !== undefined;
    const previous = newest?.state === 'exited' && waits ? newest : all[1];
    const container = options.previous ? previous : newest;
    return container && this.#view(record, container);
  }

  sandbox(podUid: string): string | undefined {
    return readySandbox(this.#options.cache.pod(podUid))?.id;
  }

  onContainerChange(podUid: string, callback: () => void, signal: AbortSignal): void {
    const listeners = this.#listeners.get(podUid) ?? new Set();
    listeners.add(callback);
    this.#listeners.set(podUid, listeners);
    signal.addEventListener(
      'abort',
      () => {
        listeners.delete(callback);
        if (listeners.size === 0) this.#listeners.delete(podUid);
      },
      { once: true },
    );
  }

  /** A container of the pod has changed. */
  changed(podUid: string): void {
    for (const callback of this.#listeners.get(podUid) ?? []) callback();
  }

  timelines(): PodTimeline[] {
    return this.#options.timelines();
  }

  #view(record: PodRecord, container: RuntimeContainer): ContainerView {
    const { uid, name = '', namespace = '' } = record.pod.metadata;
    const spec = everyContainer(record.pod).find((one) => one.name === container.name);
    const { logPath, id, state, restartCount, startedAt } = container;
    const directory = podLogDirectory(this.#options.settings.podLogsDirectory, { uid, name, namespace });
    const own = join(directory, container.name, `${restartCount}.log`);
    return {
      id,
      name: container.name,
      state,
      restartCount,
      startedAt,
      logPath: isAbsolute(logPath) ? logPath : own,
      tty: spec?.tty ?? false,
      stdin: spec?.stdin ?? false,
    };
  }
}

function withStatus({ pod, status }: PodRecord): Pod {
  return status ? { ...pod, status } : pod;
}

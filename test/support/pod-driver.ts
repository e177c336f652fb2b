import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type Container, type Pod, type PodSpec, resources } from '../../src/api/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { type ApiClient, createClient, createInformer, type Informer, loadKubeconfig } from '../../src/client/index.ts';
import { calls } from '../../src/host/system-calls/index.ts';
import type { Cluster } from './cluster.ts';

/** An Event as tests read it. */
export interface SeenEvent {
  reason: string;
  message: string;
  type: string;
  count: number;
  fieldPath: string;
}

const newNetworkNamespace = 0x40000000;

/**
 * Makes pods in a cluster and sees everything that becomes of them, from within the test's process (which it takes into the
 * cluster's network namespace: only for tests that have their process for themselves, as test files have).
 */
export class PodDriver {
  readonly client: ApiClient;
  /** Every version of each pod that was seen, oldest first, by name. */
  readonly history = new Map<string, Pod[]>();
  readonly #cluster: Cluster;
  readonly #pods: Informer<Pod>;
  readonly #events: Informer<any>;
  readonly #image: string;

  private constructor(cluster: Cluster, client: ApiClient, image: string) {
    this.#cluster = cluster;
    this.client = client;
    this.#image = image;
    this.#pods = createInformer<Pod>(client, resources.pods, {
      namespace: 'default',
      onChange: (_key, now) => {
        if (!now) return;
        const { name = '' } = now.metadata;
        this.history.set(name, [...(this.history.get(name) ?? []), now]);
      },
    });
    this.#events = createInformer<any>(client, resources.events, { namespace: 'default' });
  }

  /** Enters the cluster's network and begins to look. `image` is what containers run that name none. */
  static async start(cluster: Cluster, image: string): Promise<PodDriver> {
    const descriptor = openSync(`/run/netns/${cluster.namespace.name}`, 'r');
    calls.setns(descriptor, newNetworkNamespace);
    closeSync(descriptor);
    const client = createClient(await loadKubeconfig(join(cluster.dataDirectory, 'admin.conf')));
    const driver = new PodDriver(cluster, client, image);
    driver.#pods.start(new AbortController().signal);
    driver.#events.start(new AbortController().signal);
    await Promise.all([driver.#pods.synced, driver.#events.synced]);
    return driver;
  }

  /** Ready only when the container's script has come to `touch /trapped`, behind its traps: signals before are lost. */
  readonly trapped = { readinessProbe: { exec: { command: ['test', '-e', '/trapped'] }, periodSeconds: 1 } };

  /** A container `main` that waits for its stop signal, changed as asked. */
  container(changes: Partial<Container> & { script?: string } = {}): Container {
    const { script = 'trap "exit 0" TERM; sleep 3600 & wait', ...rest } = changes;
    return { name: 'main', image: this.#image, command: ['sh', '-c', script], ...rest };
  }

  /** Makes a pod with that container, or with those of `spec`. Its grace period is 1 second unless the spec says another. */
  async create(name: string, spec: Partial<PodSpec> = {}, metadata: Partial<Pod['metadata']> = {}): Promise<Pod> {
    const whole = { terminationGracePeriodSeconds: 1, containers: [this.container()], ...spec };
    return this.client.create(
      resources.pods,
      { apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec: whole } as never,
      { namespace: 'default' },
    );
  }

  /** The pod as last seen. */
  get(name: string): Pod | undefined {
    return this.#pods.get(`default/${name}`);
  }

  /** Asks for the pod's deletion; @returns at once. */
  async delete(name: string, gracePeriodSeconds?: number): Promise<void> {
    const options = { namespace: 'default', ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }) };
    await this.client.delete(resources.pods, name, options);
  }

  /** Deletes the pod and waits until it has gone. */
  async remove(name: string, gracePeriodSeconds?: number): Promise<void> {
    await this.delete(name, gracePeriodSeconds);
    await this.untilGone(name);
  }

  async untilGone(name: string, timeoutMs = 30_000): Promise<void> {
    await pollUntil(`the end of ${name}`, () => this.get(name) === undefined, { timeoutMs, intervalMs: 10 });
  }

  /** Waits until the pod is as wanted. @throws DeadlineError, with the pod's last status in the cause */
  async until(what: string, name: string, holds: (pod: Pod) => unknown, timeoutMs = 30_000): Promise<Pod> {
    try {
      return await pollUntil(
        `${name}: ${what}`,
        () => {
          const pod = this.get(name);
          return pod && holds(pod) ? pod : undefined;
        },
        { timeoutMs, intervalMs: 10 },
      );
    } catch (error) {
      const status = JSON.stringify(this.get(name)?.status, null, 1);
      const events = this.events(name).map(({ reason, message }) => `${reason}: ${message}`);
      throw new Error(`${(error as Error).message}\n${status}\n${events.join('\n')}`, { cause: error });
    }
  }

  untilReady(name: string, timeoutMs?: number): Promise<Pod> {
    return this.until('Ready', name, isReady, timeoutMs);
  }

  /** The events of a pod so far. */
  events(name: string): SeenEvent[] {
    return this.#events
      .list()
      .filter(({ involvedObject }) => involvedObject?.name === name)
      .map(({ reason = '', message = '', type = '', count = 1, involvedObject }) => ({
        ...{ reason, message, type, count, fieldPath: involvedObject.fieldPath ?? '' },
      }));
  }

  /** Waits for an event of the pod. */
  untilEvent(name: string, reason: string, message = /./, timeoutMs = 30_000): Promise<SeenEvent> {
    return pollUntil(
      `${name}: event ${reason} ${message}`,
      () => this.events(name).find((one) => one.reason === reason && message.test(one.message)),
      { timeoutMs, intervalMs: 20 },
    );
  }

  /** What a command in a container of the pod says. @throws Error when it fails */
  exec(name: string, command: string[], container = 'main'): Promise<string> {
    return this.#cluster.kubectl(['exec', name, '-c', container, '--', ...command]);
  }

  async stop(): Promise<void> {
    await this.#pods.stop();
    await this.#events.stop();
  }
}

/** The status of a pod's condition. */
export function conditionOf(pod: Pod | undefined, type: string) {
  return pod?.status?.conditions?.find((one) => one.type === type);
}

export function isReady(pod: Pod | undefined): boolean {
  return conditionOf(pod, 'Ready')?.status === 'True';
}

/** The status of a container of any kind. */
export function containerOf(pod: Pod | undefined, name = 'main') {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = pod?.status ?? {};
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses].find(
    (one) => one.name === name,
  );
}

/** What may never be seen in the versions of a pod, in their order. */
export function neverBack(all: readonly Pod[]): void {
  // A name may be that of several pods, one after another.
  for (const uid of new Set(all.map(({ metadata }) => metadata.uid)))
    checkOne(all.filter(({ metadata }) => metadata.uid === uid));
}

function checkOne(versions: readonly Pod[]): void {
  const ranks: Record<string, number> = { Pending: 0, Running: 1, Succeeded: 2, Failed: 2 };
  let rank = 0;
  const ended = new Set<string>();
  const counts = new Map<string, number>();
  for (const { metadata, status } of versions) {
    const now = ranks[status?.phase ?? 'Pending'] ?? 0;
    assert.ok(now >= rank, `${metadata.name} went back to ${status?.phase}`);
    rank = now;
    for (const one of [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]) {
      const { name, containerID = '', state, restartCount } = one;
      assert.ok(restartCount >= (counts.get(name) ?? 0), `${metadata.name}: restarts of ${name} went back`);
      counts.set(name, restartCount);
      if (state?.terminated) ended.add(containerID);
      assert.ok(!state?.running || !ended.has(containerID), `${metadata.name}: ${name} runs after its end`);
    }
  }
}

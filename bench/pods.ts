import { type Draft, type Pod, resources } from '../src/api/index.ts';
import { pollUntil } from '../src/async/index.ts';
import { type ApiClient, createInformer } from '../src/client/index.ts';

/** When things happened to a pod, milliseconds of this process's clock. */
interface Seen {
  created: number;
  ready?: number;
  deleted?: number;
  gone?: number;
}

/** Creates and deletes pods and notes when a watch shows them Ready and gone. */
export class PodTimer {
  readonly #client: ApiClient;
  readonly #seen = new Map<string, Seen>();
  readonly #informer;

  constructor(client: ApiClient) {
    this.#client = client;
    this.#informer = createInformer<Pod>(client, resources.pods, {
      namespace: 'default',
      onChange: (_key, now, before) => {
        const seen = this.#seen.get((now ?? before)!.metadata.name);
        if (!seen) return;
        if (!now) seen.gone ??= performance.now();
        else if (now.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'))
          seen.ready ??= performance.now();
      },
    });
  }

  async start(): Promise<void> {
    this.#informer.start();
    await this.#informer.synced;
  }

  stop(): void {
    this.#informer.stop();
  }

  async create(name: string, image: string): Promise<void> {
    const draft: Draft<Pod> = {
      metadata: { name, namespace: 'default' },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: 'main',
            image,
            command: ['/bin/sh', '-c', "trap 'exit 0' TERM; sleep 1000000 & wait"],
            imagePullPolicy: 'IfNotPresent',
          },
        ],
      },
    };
    this.#seen.set(name, { created: performance.now() });
    await this.#client.create(resources.pods, draft);
  }

  /** Milliseconds from create to Ready. */
  async ready(name: string): Promise<number> {
    const seen = this.#seen.get(name)!;
    await pollUntil(`pod ${name} Ready`, () => seen.ready !== undefined, { timeoutMs: 60_000, intervalMs: 1 });
    return seen.ready! - seen.created;
  }

  async delete(name: string, graceSeconds?: number): Promise<void> {
    this.#seen.get(name)!.deleted = performance.now();
    await this.#client.delete(resources.pods, name, {
      namespace: 'default',
      ...(graceSeconds !== undefined ? { gracePeriodSeconds: graceSeconds } : {}),
    });
  }

  /** Milliseconds from delete to gone. */
  async gone(name: string): Promise<number> {
    const seen = this.#seen.get(name)!;
    await pollUntil(`pod ${name} gone`, () => seen.gone !== undefined, { timeoutMs: 60_000, intervalMs: 1 });
    return seen.gone! - seen.deleted!;
  }
}

/** Creates one pod after another and deletes each. */
export async function oneAtATime(
  client: ApiClient,
  image: string,
  count: number,
): Promise<{ readyMs: number[]; goneMs: number[] }> {
  const timer = new PodTimer(client);
  await timer.start();
  const readyMs: number[] = [];
  const goneMs: number[] = [];
  for (let i = 0; i < count; i++) {
    const name = `one-${i}`;
    await timer.create(name, image);
    readyMs.push(await timer.ready(name));
    await timer.delete(name, 1);
    goneMs.push(await timer.gone(name));
  }
  timer.stop();
  return { readyMs, goneMs };
}

/** Creates many pods at once, waits for all, deletes all at once. Gives the time for all, milliseconds. */
export async function allAtOnce(
  client: ApiClient,
  image: string,
  count: number,
): Promise<{ readyMs: number; goneMs: number }> {
  const timer = new PodTimer(client);
  await timer.start();
  const names = Array.from({ length: count }, (_, i) => `many-${i}`);
  const created = performance.now();
  await Promise.all(names.map((name) => timer.create(name, image)));
  await Promise.all(names.map((name) => timer.ready(name)));
  const readyMs = performance.now() - created;
  const deleted = performance.now();
  await Promise.all(names.map((name) => timer.delete(name, 1)));
  await Promise.all(names.map((name) => timer.gone(name)));
  const goneMs = performance.now() - deleted;
  timer.stop();
  return { readyMs, goneMs };
}

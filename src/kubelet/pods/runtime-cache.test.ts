import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { annotations, labels } from './names.ts';
import { RuntimeCache } from './runtime-cache.ts';
import type { RuntimeClient } from './runtime-client.ts';

const podLabels = { [labels.podUid]: 'uid-1', [labels.podName]: 'web', [labels.podNamespace]: 'default' };

/** A runtime that has what the test says, and may hang when it is asked about one container. */
class LittleRuntime {
  readonly containers = new Map<string, any>();
  hangs: string | undefined;
  release: () => void = () => {};

  add(id: string, changes: object = {}): void {
    const container = { id, state: 1, labels: { ...podLabels, [labels.containerName]: 'main' }, ...changes };
    this.containers.set(id, { attempt: 0, createdAt: 1_000_000_000n, exitCode: 0, ...container });
  }

  get client(): RuntimeClient {
    const status = (one: any) => ({
      ...{ reason: '', message: '', imageRef: '', imageId: '', logPath: '', mounts: [], startedAt: 1n, finishedAt: 0n },
      ...{ annotations: { [annotations.restartCount]: String(one.attempt) }, ...one },
    });
    const runtime = {
      listPodSandbox: async () => ({ items: [] }),
      listContainers: async () => ({
        containers: [...this.containers.values()].map((one) => ({ ...one, podSandboxId: 'sandbox-0' })),
      }),
      containerStatus: async ({ containerId }: { containerId: string }) => {
        if (this.hangs === containerId) await new Promise<void>((resolve) => (this.release = resolve));
        return { status: status(this.containers.get(containerId)) };
      },
    };
    return { runtime } as unknown as RuntimeClient;
  }
}

describe('RuntimeCache', () => {
  it('takes the container that was started more often for the newer one, whatever the clock says', async () => {
    const runtime = new LittleRuntime();
    runtime.add('old', { attempt: 0, createdAt: 5_000_000_000n, state: 2 });
    runtime.add('new', { attempt: 1, createdAt: 1_000_000_000n });
    const cache = new RuntimeCache(runtime.client, new FakeClock(), () => {});
    await cache.relist();
    assert.deepEqual(
      cache.pod('uid-1').containers.map(({ id }) => id),
      ['new', 'old'],
    );
  });

  it('counts the end of a container on the clock that does not jump', async () => {
    const runtime = new LittleRuntime();
    const clock = new FakeClock(100_000);
    runtime.add('late', { state: 2, finishedAt: 95_000_000_000n });
    runtime.add('future', { state: 2, finishedAt: 3_700_000_000_000n });
    const cache = new RuntimeCache(runtime.client, clock, () => {});
    await cache.relist();
    assert.equal(cache.container('late')?.endedMonotonic, 95_000);
    assert.equal(cache.container('future')?.endedMonotonic, 100_000);
  });

  it('says that a pod is not fully known while one of its containers cannot be looked at, and lists the rest', async () => {
    const runtime = new LittleRuntime();
    runtime.add('dark');
    runtime.add('light', { labels: { ...podLabels, [labels.podUid]: 'uid-2', [labels.containerName]: 'main' } });
    runtime.hangs = 'dark';
    const clock = new FakeClock();
    const changed: string[] = [];
    const cache = new RuntimeCache(runtime.client, clock, (uid) => changed.push(uid));
    const relist = cache.relist();
    await clock.advance(3000);
    await relist;
    assert.equal(cache.pod('uid-1').incomplete, true);
    assert.equal(cache.pod('uid-2').containers.length, 1);
    assert.equal(cache.pod('uid-2').incomplete, undefined);
    runtime.release();
    await clock.advance(0);
    assert.equal(cache.pod('uid-1').incomplete, undefined);
    assert.equal(cache.pod('uid-1').containers.length, 1);
    assert.ok(changed.filter((uid) => uid === 'uid-1').length > 0);
  });

  it('tells the end of a container once, and at once when it is over', async () => {
    const runtime = new LittleRuntime();
    runtime.add('main-0');
    const cache = new RuntimeCache(runtime.client, new FakeClock(), () => {});
    await cache.relist();
    let told = 0;
    cache.onEnd('main-0', () => told++);
    const forget = cache.onEnd('main-0', () => told++);
    forget();
    runtime.add('main-0', { state: 2, exitCode: 1 });
    await cache.relist();
    assert.equal(told, 1);
    cache.onEnd('main-0', () => told++);
    cache.onEnd('nobody', () => told++);
    assert.equal(told, 3);
  });
});

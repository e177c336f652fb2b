import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { PodEvents } from '../pods/pod-events.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { makePod } from '../testing/pods.ts';
import { ImagePuller } from './image-puller.ts';
import { PullAuthorization } from './pull-authorization.ts';
import { PullRecords } from './pull-records.ts';
import { verificationRule } from './verification-policy.ts';

describe('ImagePuller', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'dh-puller-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const image = 'registry.test/app:1';
  const pods = (count: number) =>
    Array.from({ length: count }, (_, at) => makePod({}, { uid: `u${at}`, name: `p${at}` }));

  function open() {
    const clock = new FakeClock(1_000_000);
    const log = createLogger('test', () => {});
    const present = new Set<string>();
    const pulls: PromiseWithResolvers<void>[] = [];
    const images = {
      imageStatus: async () => (present.has(image) ? { image: { id: 'sha256:1', size: 1n, username: '' } } : {}),
      pullImage: async (_: object, { signal }: { signal?: AbortSignal }) => {
        const pull = Promise.withResolvers<void>();
        pulls.push(pull);
        signal?.addEventListener('abort', () => pull.reject(signal.reason));
        await pull.promise;
        present.add(image);
      },
    };
    const records = new PullRecords(root, clock, log);
    const puller = new ImagePuller({
      client: { images } as unknown as RuntimeClient,
      ...{ clock, metrics: new KubeletMetrics(), events: new PodEvents(undefined, log), rootDirectory: root },
      authorization: new PullAuthorization(records, verificationRule('NeverVerifyPreloadedImages'), log),
      secret: async () => undefined,
      ...{ maximumParallel: 1, pullsPerSecond: 5, burst: 10 },
    });
    const pulled = async (count: number): Promise<void> => {
      while (pulls.length < count) await new Promise((resolve) => setImmediate(resolve));
    };
    return { puller, pulls, pulled };
  }
  const container = { name: 'main', image, imagePullPolicy: 'IfNotPresent' };

  it('pulls once for many pods that want an image at the same time', async () => {
    const { puller, pulls, pulled } = open();
    const found = Promise.all(pods(40).map((pod) => puller.ensure(pod, container)));
    await pulled(1);
    pulls[0]!.resolve();
    assert.deepEqual(new Set((await found).map(({ ref }) => ref)), new Set(['sha256:1']));
    assert.equal(pulls.length, 1);
  });

  it('pulls for each pod whose policy is Always', async () => {
    const { puller, pulls, pulled } = open();
    const found = Promise.all(pods(2).map((pod) => puller.ensure(pod, { ...container, imagePullPolicy: 'Always' })));
    for (const at of [0, 1]) {
      await pulled(at + 1);
      pulls[at]!.resolve();
    }
    await found;
  });

  it('a pull that fails, or ends with its pod, is tried by the pod that waited for it', async () => {
    const { puller, pulls, pulled } = open();
    const [first, second] = pods(2) as [ReturnType<typeof makePod>, ReturnType<typeof makePod>];
    const end = new AbortController();
    const gone = puller.ensure(first, container, { signal: end.signal });
    const waits = puller.ensure(second, container);
    await pulled(1);
    end.abort(new Error('gone'));
    await assert.rejects(gone, /gone/);
    await pulled(2);
    pulls[1]!.reject(new Error('no route'));
    await assert.rejects(waits, { reason: 'ErrImagePull', message: 'no route' });
    await assert.rejects(puller.ensure(second, container), { reason: 'ImagePullBackOff' });
    assert.equal(puller.retryInMs(second, container), 10_000);
  });
});

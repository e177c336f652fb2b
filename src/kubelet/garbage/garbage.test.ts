import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from '../pods/runtime-state.ts';
import { planContainers } from './container-plan.ts';
import { ImageCollector } from './image-collector.ts';
import { type ImageFacts, planImages } from './image-plan.ts';

const image = (id: string, more: Partial<ImageFacts> = {}): ImageFacts => ({
  ...{ id, sizeBytes: 10, pinned: false, used: false, firstSeenAt: 0, lastUsedAt: 0 },
  ...more,
});
const policy = { highPercent: 85, lowPercent: 80, minimumAgeMs: 100, maximumAgeMs: 0 };
const ids = (images: readonly ImageFacts[]) => images.map(({ id }) => id).join(' ');

describe('which images to remove', () => {
  const plan = (images: ImageFacts[], available: number, more = {}, now = 1000) =>
    planImages(
      images,
      { capacityBytes: 100, availableBytes: available },
      { ...policy, ...more },
      { now, startedAt: 0 },
    );

  it('nothing below the high threshold, down to the low one above it', () => {
    assert.equal(plan([image('a')], 16).wantedBytes, 0);
    assert.equal(plan([image('a')], 15).wantedBytes, 5);
    assert.equal(plan([image('a')], 0).wantedBytes, 20);
    assert.equal(plan([image('a')], 0, { highPercent: 100 }).wantedBytes, 0);
  });

  it('the least recently used first, of equal ones the first seen', () => {
    const images = [image('c', { lastUsedAt: 5 }), image('b', { firstSeenAt: 2 }), image('a', { firstSeenAt: 1 })];
    assert.equal(ids(plan(images, 0).candidates), 'a b c');
  });

  it('never what is pinned, in use, or younger than the minimum age', () => {
    const images = [
      image('p', { pinned: true }),
      image('u', { used: true }),
      image('y', { firstSeenAt: 950 }),
      image('a'),
    ];
    assert.equal(ids(plan(images, 0).candidates), 'a');
  });

  it('what is older than the maximum age, room or not, once that much time has passed', () => {
    const images = [image('old'), image('used', { lastUsedAt: 900 }), image('new', { firstSeenAt: 900 })];
    assert.equal(ids(plan(images, 90, { maximumAgeMs: 500 }).old), 'old');
    assert.equal(ids(plan(images, 90, { maximumAgeMs: 500 }, 400).old), '');
  });
});

describe('ImageCollector', () => {
  function setUp(disk: { capacityBytes: number; availableBytes: number }, more: object = {}, sandboxImage = '') {
    const clock = new FakeClock(1_000_000);
    const present = new Map(
      [1, 2, 3].map((n) => [
        `i${n}`,
        { id: `i${n}`, repoTags: [`r.test/i:${n}`], repoDigests: [], size: 10n, pinned: false },
      ]),
    );
    const events: string[] = [];
    const used = new Set<string>();
    const broken = new Set<string>();
    const images = {
      listImages: async () => ({ images: [...present.values()] }),
      imageFsInfo: async () => ({ imageFilesystems: [{ fsId: { mountpoint: '/' } }] }),
      removeImage: async ({ image: { image: id } }: { image: { image: string } }) => {
        if (broken.has(id)) throw new Error('busy');
        present.delete(id);
        disk.availableBytes += 10;
      },
    };
    const runtime = { status: async () => ({ info: { config: JSON.stringify({ sandboxImage }) } }) };
    const collector = new ImageCollector({
      client: { images, runtime } as unknown as RuntimeClient,
      policy: { ...policy, minimumAgeMs: 0 },
      inUse: () => used,
      nodeEvent: (reason, message) => events.push(`${reason}: ${message}`),
      disk: async () => disk,
      clock,
      log: createLogger('test', () => {}),
      ...more,
    });
    return { clock, present, events, used, broken, collector };
  }

  it('frees down to the low threshold, and leaves what a pod uses by name or id', async () => {
    const { collector, present, used, clock } = setUp({ capacityBytes: 100, availableBytes: 10 });
    used.add('r.test/i:1');
    await clock.advance(1);
    await collector.collect();
    assert.deepEqual([...present.keys()], ['i1', 'i3']);
  });

  it('says on the node when too little could be freed', async () => {
    const { collector, events, used } = setUp({ capacityBytes: 1000, availableBytes: 10 });
    used.add('i1').add('i2').add('i3');
    await assert.rejects(collector.collect(), /Failed to free sufficient space/);
    assert.match(events[0]!, /^FreeDiskSpaceFailed: .*\(99% of 1000 B used\)/);
  });

  it('says ImageGCFailed when it has failed twice in a row', async () => {
    const { collector, events, clock, broken } = setUp({ capacityBytes: 100, availableBytes: 10 });
    for (const id of ['i1', 'i2', 'i3']) broken.add(id);
    collector.start();
    await clock.advance(10_000);
    assert.deepEqual(events, []);
    await clock.advance(300_000);
    assert.match(events[0]!, /^ImageGCFailed: cannot remove images: i1: busy/);
    collector.stop();
  });

  it('removes every unused image when eviction asks, and tells what is left', async () => {
    const told: string[][] = [];
    const onCollected = async (left: ReadonlySet<string>) => void told.push([...left]);
    const { collector, present, used } = setUp({ capacityBytes: 100, availableBytes: 90 }, { onCollected });
    used.add('i2');
    await collector.deleteUnused();
    assert.deepEqual([...present.keys()], ['i2']);
    assert.deepEqual(told, [['i2']]);
  });

  it('leaves the image of sandboxes, also where the runtime does not pin it', async () => {
    const { collector, present } = setUp({ capacityBytes: 100, availableBytes: 0 }, {}, 'r.test/i:3');
    await collector.deleteUnused();
    assert.deepEqual([...present.keys()], ['i3']);
  });

  it('looks again after a pull', async () => {
    const disk = { capacityBytes: 100, availableBytes: 90 };
    const { collector, present, clock } = setUp(disk);
    collector.start();
    await clock.advance(1);
    assert.equal(present.size, 3);
    disk.availableBytes = 12;
    collector.imagePulled();
    await clock.advance(1000);
    assert.equal(present.size, 2);
    collector.stop();
  });
});

describe('which containers and sandboxes to remove', () => {
  const container = (id: string, name: string, sandboxId: string, state = 'exited') =>
    ({ id, name, sandboxId, state }) as unknown as RuntimeContainer;
  const sandbox = (id: string, ready: boolean) => ({ id, ready }) as unknown as RuntimeSandbox;
  const pod = (containers: RuntimeContainer[], sandboxes: RuntimeSandbox[]): RuntimePod => ({
    ...{ uid: 'u', name: 'p', namespace: 'default', sandboxes, containers },
  });
  const plan = (one: RuntimePod, standing: 'live' | 'ended' | 'gone', evenEnded = false) =>
    planContainers([one], () => standing, { perContainer: 1, evenEnded })
      .map((step) => (step.kind === 'remove-container' ? step.container.id : step.sandbox.id))
      .join(' ');

  it('keeps the newest dead container of each name, and the newest sandbox', () => {
    const one = pod(
      [container('a2', 'a', 's1'), container('a1', 'a', 's1'), container('b1', 'b', 's1')],
      [sandbox('s2', true), sandbox('s1', false), sandbox('s0', false)],
    );
    assert.equal(plan(one, 'live'), 'a1 s0');
    assert.equal(plan(one, 'ended'), 'a1 s0');
  });

  it('removes all of a pod that is gone, and of one that has ended when room is short', () => {
    const one = pod([container('a1', 'a', 's1')], [sandbox('s1', false)]);
    assert.equal(plan(one, 'gone'), 'a1');
    assert.equal(plan(one, 'ended', true), 'a1');
    assert.equal(plan(pod([], [sandbox('s1', false)]), 'gone'), 's1');
    assert.equal(plan(pod([], [sandbox('s1', false)]), 'ended'), '');
  });

  it('never touches what runs or is about to', () => {
    const one = pod(
      [container('a1', 'a', 's1', 'running'), container('b1', 'b', 's1', 'created')],
      [sandbox('s1', true)],
    );
    assert.equal(plan(one, 'gone'), '');
  });
});

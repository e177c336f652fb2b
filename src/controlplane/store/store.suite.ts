import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { checkRevision, objectOf, Store, type StoreChange, StoreError } from './index.ts';
import type { LogStore } from './log-store.ts';

/** What every store does, whatever keeps its log. `reopen` gives the same log again, when it survives. */
export function describeStore(name: string, open: () => LogStore, reopen?: () => LogStore): void {
  const draft = (label: string) => ({ kind: 'Thing', metadata: { name: 'x', labels: { label } } as any });
  const write = (store: Store, key: string, expect: number, label: string, deleted = false) =>
    store.write({ resource: 'things', namespace: 'ns', name: key, expect, object: draft(label), deleted });
  const fails = (code: string) => (error: unknown) => error instanceof StoreError && error.code === code;
  const withStore = async (run: (store: Store, clock: FakeClock) => Promise<void>) => {
    const clock = new FakeClock(1_000_000);
    const store = new Store({ log: open(), clock });
    try {
      await run(store, clock);
    } finally {
      store.close();
    }
  };

  describe(name, () => {
    it('gives every write the next revision and keeps it in the object', () =>
      withStore(async (store) => {
        const first = await write(store, 'a', 0, '1');
        const second = await write(store, 'b', 0, '1');
        assert.equal(second.revision, first.revision + 1);
        assert.equal(JSON.parse(second.bytes.toString()).metadata.resourceVersion, String(second.revision));
        assert.equal(store.revision, second.revision);
      }));

    it('refuses a write that expects another revision, also within one turn', () =>
      withStore(async (store) => {
        const first = write(store, 'a', 0, '1');
        await assert.rejects(write(store, 'a', 0, '2'), fails('CONFLICT'));
        const { revision } = await first;
        const [won, lost] = await Promise.allSettled([
          write(store, 'a', revision, '2'),
          write(store, 'a', revision, '3'),
        ]);
        assert.equal(won.status, 'fulfilled');
        assert.equal(lost.status, 'rejected');
        assert.equal(objectOf(store.get('things', 'ns', 'a')!).metadata.labels.label, '2');
      }));

    it('shows readers only what is committed, and writers what is written', () =>
      withStore(async (store) => {
        const writing = write(store, 'a', 0, '1');
        assert.equal(store.get('things', 'ns', 'a'), undefined);
        assert.ok(store.getHead('things', 'ns', 'a'));
        await writing;
        assert.ok(store.get('things', 'ns', 'a'));
      }));

    it('lists by namespace and name, now and as it was', () =>
      withStore(async (store) => {
        await Promise.all(['c', 'a', 'b'].map((key) => write(store, key, 0, '1')));
        const { revision } = store;
        const names = (list: readonly { name: string }[]) => list.map((one) => one.name).join('');
        await write(store, 'b', store.get('things', 'ns', 'b')!.revision, '2', true);
        await write(store, 'd', 0, '1');
        const collection = store.collection('things');
        assert.equal(names(collection.list()), 'acd');
        assert.equal(names(collection.listAt(revision, 'ns')), 'abc');
        assert.equal(names(collection.list('other')), '');
      }));

    it('tells subscribers each commit once, in order, with what was before', () =>
      withStore(async (store) => {
        const seen: StoreChange[] = [];
        store.collection('things').subscribe((changes) => seen.push(...changes));
        const { revision } = await write(store, 'a', 0, '1');
        const second = await write(store, 'a', revision, '2');
        await write(store, 'a', second.revision, '2', true);
        assert.deepEqual(
          seen.map((one) => one.type),
          ['ADDED', 'MODIFIED', 'DELETED'],
        );
        assert.equal(seen[1]!.before!.revision, revision);
        assert.equal(seen[2]!.now.revision, store.revision);
        assert.deepEqual(
          store
            .collection('things')
            .changesAfter(revision)
            .map((one) => one.type),
          ['MODIFIED', 'DELETED'],
        );
      }));

    it('forgets changes after five minutes and refuses to resume from them', () =>
      withStore(async (store, clock) => {
        const first = await write(store, 'a', 0, '1');
        await write(store, 'a', first.revision, '2');
        checkRevision(store, first.revision);
        await clock.advance(400_000);
        assert.throws(() => checkRevision(store, first.revision), fails('COMPACTED'));
        assert.throws(() => checkRevision(store, store.revision + 1), fails('FUTURE'));
        checkRevision(store, store.revision);
        assert.equal(objectOf(store.get('things', 'ns', 'a')!).metadata.labels.label, '2');
      }));

    if (!reopen) return;

    it('finds everything again after a restart: objects, revision, history', async () => {
      const clock = new FakeClock(1_000_000);
      const store = new Store({ log: open(), clock });
      const first = await write(store, 'a', 0, '1');
      await write(store, 'b', 0, '1');
      const third = await write(store, 'a', first.revision, '2');
      await write(store, 'b', store.get('things', 'ns', 'b')!.revision, 'last', true);
      const { revision } = store;
      store.close();
      const again = new Store({ log: reopen(), clock });
      assert.equal(again.revision, revision);
      assert.equal(again.get('things', 'ns', 'b'), undefined);
      assert.equal(again.get('things', 'ns', 'a')!.revision, third.revision);
      const changes = again.collection('things').changesAfter(first.revision);
      assert.deepEqual(
        changes.map((one) => one.type),
        ['ADDED', 'MODIFIED', 'DELETED'],
      );
      assert.equal(changes[1]!.before!.revision, first.revision);
      await clock.advance(400_000);
      again.close();
      const third2 = new Store({ log: reopen(), clock });
      assert.equal(third2.revision, revision, 'the revision survives the compaction of the last deletion');
      assert.equal(third2.compacted, revision);
      assert.equal(third2.collection('things').size, 1);
      third2.close();
    });
  });
}

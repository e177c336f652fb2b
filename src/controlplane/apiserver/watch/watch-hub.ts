import type { ServerResponse } from '../../../wire/http/index.ts';
import type { Collection, StoreChange, Stored } from '../../store/index.ts';
import type { Core } from '../core.ts';
import type { Encoding } from '../http/negotiate.ts';
import { isSelected, type Selection } from '../http/selection.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { EventEncoder } from './event-encoder.ts';

/** A request to watch, checked. */
export interface WatchRequest {
  info: ResourceInfo;
  selection: Selection;
  encoding: Encoding;
  /** Changes after this revision are wanted; undefined: from what is there now. */
  from: number | undefined;
  /** First tell every object as ADDED. */
  initial: boolean;
  /** End the initial events with the bookmark that says so. */
  initialEndsWithBookmark: boolean;
  bookmarks: boolean;
  timeoutMs: number;
}

/** Watchers that get the same bytes. */
interface Group {
  selection: Selection;
  encoder: EventEncoder;
  watchers: Set<Watcher>;
}

interface Watcher {
  response: ServerResponse;
  bookmarks: boolean;
  /** Bytes that may wait in the connection before the watcher counts as too slow. */
  limit: number;
  end(): void;
}

/** So many bytes may wait for a slow client beyond its first events. */
const slowLimit = 16 * 1024 * 1024;
const bookmarkIntervalMs = 60_000;
const chunkBytes = 256 * 1024;

/** Tells watchers what changed: each event is encoded once for all that want it in the same form. */
export class WatchHub {
  readonly #core: Core;
  readonly #groups = new Map<string, Map<string, Group>>();
  readonly #subscriptions = new Map<string, () => void>();
  readonly #encoders = new Map<string, EventEncoder>();
  #count = 0;
  #bookmarkTimer: { cancel(): void } | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Watchers that are connected. */
  get count(): number {
    return this.#count;
  }

  /** Answers a watch: the header, the first events, then every change until the client, the timeout or close() ends it. */
  open(request: WatchRequest, response: ServerResponse): void {
    const { info, selection, encoding } = request;
    const encoder = this.#encoderFor(info, encoding);
    response.writeHead(200, { 'Content-Type': encoding.yaml ? 'application/yaml' : 'application/json;stream=watch' });
    response.flushHeaders();
    this.#sendFirst(request, encoder, response);
    const group = this.#groupFor(info, selection, encoder);
    const timer = this.#core.clock.after(request.timeoutMs, () => watcher.end());
    let ended = false;
    const leave = () => {
      if (ended) return;
      ended = true;
      timer.cancel();
      this.#leave(info.storage.key, selection, encoder, watcher);
    };
    const watcher: Watcher = {
      response,
      bookmarks: request.bookmarks,
      limit: response.writableLength + slowLimit,
      end: () => {
        leave();
        response.end();
      },
    };
    response.on('close', leave);
    group.watchers.add(watcher);
    this.#count++;
    this.#planBookmarks();
  }

  #encoderFor(info: ResourceInfo, encoding: Encoding): EventEncoder {
    const key = `${info.apiVersion}/${info.plural}/${encoding.form}/${encoding.includeObject}`;
    let encoder = this.#encoders.get(key);
    if (!encoder) this.#encoders.set(key, (encoder = new EventEncoder(this.#core, info, encoding, key)));
    return encoder;
  }

  /** What is there (or what happened since), in one go: nothing can come in between before the group is joined. */
  #sendFirst(request: WatchRequest, encoder: EventEncoder, response: ServerResponse): void {
    const { selection, initial, from } = request;
    const { store } = this.#core;
    const collection = store.collection(request.info.storage.key);
    const out = new ChunkWriter(response);
    if (initial) {
      for (const stored of selectFrom(collection, selection)) out.add(encoder.encode('ADDED', stored));
      if (request.initialEndsWithBookmark) out.add(encoder.bookmark(store.revision, true));
    } else if (from !== undefined) {
      for (const change of collection.changesAfter(from)) {
        const event = classify(change, selection);
        if (event) out.add(encoder.encodeChange(change, event));
      }
    }
    out.flush();
  }

  #groupFor(info: ResourceInfo, selection: Selection, encoder: EventEncoder): Group {
    const { key } = info.storage;
    let groups = this.#groups.get(key);
    if (!groups) {
      this.#groups.set(key, (groups = new Map()));
      const collection = this.#core.store.collection(key);
      this.#subscriptions.set(
        key,
        collection.subscribe((changes) => this.#dispatch(key, changes)),
      );
    }
    const groupKey = `${encoder.key} ${selection.key}`;
    let group = groups.get(groupKey);
    if (!group) groups.set(groupKey, (group = { selection, encoder, watchers: new Set() }));
    return group;
  }

  #leave(key: string, selection: Selection, encoder: EventEncoder, watcher: Watcher): void {
    const groups = this.#groups.get(key);
    const group = groups?.get(`${encoder.key} ${selection.key}`);
    if (!groups || !group?.watchers.delete(watcher)) return;
    this.#count--;
    if (group.watchers.size === 0) groups.delete(`${encoder.key} ${selection.key}`);
    if (groups.size > 0) return;
    this.#groups.delete(key);
    this.#subscriptions.get(key)?.();
    this.#subscriptions.delete(key);
  }

  #dispatch(key: string, changes: readonly StoreChange[]): void {
    for (const { selection, encoder, watchers } of [...(this.#groups.get(key)?.values() ?? [])]) {
      const lines: Buffer[] = [];
      for (const change of changes) {
        const event = classify(change, selection);
        if (event) lines.push(encoder.encodeChange(change, event));
      }
      if (lines.length === 0) continue;
      const bytes = lines.length === 1 ? lines[0]! : Buffer.concat(lines);
      for (const watcher of watchers) this.#write(watcher, bytes);
    }
  }

  #write(watcher: Watcher, bytes: Buffer): void {
    watcher.response.write(bytes);
    if (watcher.response.writableLength <= watcher.limit) return;
    this.#core.log.warn('a watcher is too slow and is cut off', { waitingBytes: watcher.response.writableLength });
    watcher.response.destroy();
  }

  #planBookmarks(): void {
    if (this.#bookmarkTimer) return;
    this.#bookmarkTimer = this.#core.clock.after(bookmarkIntervalMs, () => {
      this.#bookmarkTimer = undefined;
      for (const groups of this.#groups.values()) {
        for (const { encoder, watchers } of groups.values()) {
          let bytes: Buffer | undefined;
          for (const watcher of watchers) {
            if (watcher.bookmarks) this.#write(watcher, (bytes ??= encoder.bookmark(this.#core.store.revision, false)));
          }
        }
      }
      if (this.#count > 0) this.#planBookmarks();
    });
  }

  /** Ends every watch in an orderly way. */
  close(): void {
    this.#bookmarkTimer?.cancel();
    for (const groups of this.#groups.values()) {
      for (const { watchers } of groups.values()) for (const watcher of watchers) watcher.end();
    }
  }
}

function selectFrom(collection: Collection, selection: Selection): Iterable<Stored> {
  if (selection.name !== undefined && selection.namespace !== undefined) {
    const one = collection.get(selection.namespace, selection.name);
    return one && isSelected(selection, one) ? [one] : [];
  }
  return collection.list(selection.namespace).filter((stored) => isSelected(selection, stored));
}

/** What a change is to someone who sees only the selected objects: one can come into view or leave it. */
function classify(change: StoreChange, selection: Selection): StoreChange['type'] | undefined {
  const { now, before, type } = change;
  if (!selection.matches) return isSelected(selection, now) ? type : undefined;
  const was = before !== undefined && isSelected(selection, before);
  const is = type !== 'DELETED' && isSelected(selection, now);
  if (is) return was ? 'MODIFIED' : 'ADDED';
  return was ? 'DELETED' : undefined;
}

/** Gathers small pieces into large writes. */
class ChunkWriter {
  readonly #response: ServerResponse;
  #pieces: Buffer[] = [];
  #size = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
  }
  add(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#size += piece.length;
    if (this.#size >= chunkBytes) this.flush();
  }
  flush(): void {
    if (this.#size === 0) return;
    this.#response.write(this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces));
    this.#pieces = [];
    this.#size = 0;
  }
}

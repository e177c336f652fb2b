import { objectOf, type StoreChange, type Stored } from '../../store/index.ts';
import type { Core } from '../core.ts';
import type { Encoding } from '../http/negotiate.ts';
import { formOf } from '../http/respond.ts';
import type { ResourceInfo } from '../resource-table.ts';

const tail = Buffer.from('}\n');
const heads = new Map<string, Buffer>();

function headOf(type: string): Buffer {
  let head = heads.get(type);
  if (!head) heads.set(type, (head = Buffer.from(`{"type":"${type}","object":`)));
  return head;
}

/** Makes the lines of a watch in one form. What was encoded for one watcher is kept for the others. */
export class EventEncoder {
  /** Equal for encoders that make the same bytes. */
  readonly key: string;
  readonly #core: Core;
  readonly #info: ResourceInfo;
  readonly #encoding: Encoding;
  readonly #encoded = new WeakMap<StoreChange, Map<string, Buffer>>();

  constructor(core: Core, info: ResourceInfo, encoding: Encoding, key: string) {
    this.#core = core;
    this.#info = info;
    this.#encoding = encoding;
    this.key = key;
  }

  /** One line: `{"type":…,"object":…}`. */
  encode(type: string, stored: Stored): Buffer {
    const plain = this.#encoding.form === 'object' && this.#info.storage === this.#info;
    const body = plain
      ? stored.bytes
      : Buffer.from(JSON.stringify(formOf(this.#core, this.#info, stored, this.#encoding)));
    return Buffer.concat([headOf(type), body, tail]);
  }

  /** The line of a change that is told as `type`. */
  encodeChange(change: StoreChange, type: StoreChange['type']): Buffer {
    let lines = this.#encoded.get(change);
    if (!lines) this.#encoded.set(change, (lines = new Map()));
    let line = lines.get(type);
    if (!line) {
      const leaves = type === 'DELETED' && change.type !== 'DELETED' && change.before;
      line = this.encode(type, leaves ? outOfView(change) : change.now);
      lines.set(type, line);
    }
    return line;
  }

  /** A bookmark: how far the watcher has come, or (`initialEnd`) that it has been told all that was there. */
  bookmark(revision: number, initialEnd: boolean): Buffer {
    const metadata = {
      resourceVersion: String(revision),
      ...(initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    };
    const { kind, apiVersion } = this.#info;
    const object =
      this.#encoding.form === 'object'
        ? { kind, apiVersion, metadata: { ...metadata, creationTimestamp: null } }
        : this.#encoding.form === 'partial'
          ? { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }
          : {
              kind: 'Table',
              apiVersion: 'meta.k8s.io/v1',
              metadata: { resourceVersion: String(revision) },
              columnDefinitions: [],
              rows: [{ cells: [], object: { kind, apiVersion, metadata } }],
            };
    return Buffer.from(`{"type":"BOOKMARK","object":${JSON.stringify(object)}}\n`);
  }
}

/** An object that a change took out of a watcher's view: its last state in view, with the revision of the change. */
function outOfView(change: StoreChange): Stored {
  const before = objectOf(change.before!);
  const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(change.revision) } };
  const { namespace, name } = change.now;
  return { namespace, name, revision: change.revision, object, bytes: Buffer.from(JSON.stringify(object)) };
}

import type { SetElement } from '../../../host/nftables/index.ts';
import { elementKey, elementValue, type Rendered, sharedSets } from './render.ts';

/** Elements to take away and to add, by set. */
export interface Delta {
  remove: Map<string, SetElement[]>;
  add: Map<string, SetElement[]>;
  /** Elements in both lists together. */
  size: number;
}

/** How many Services hold each shared element. */
export class SharedElements {
  readonly #counts = new Map<string, number>();

  /** Counts up or down; true when the element comes or goes. */
  change(set: string, key: string, by: 1 | -1): boolean {
    const name = `${set} ${key}`;
    const count = (this.#counts.get(name) ?? 0) + by;
    if (count > 0) this.#counts.set(name, count);
    else this.#counts.delete(name);
    return by === 1 ? count === 1 : count === 0;
  }
  clear(): void {
    this.#counts.clear();
  }
}

/**
 * What turns the elements of `before` into those of `after`. Equal elements stand in neither list; one whose value
 * changes stands in both (removals are written first). Counts shared elements as it goes.
 */
export function elementDelta(before: Iterable<Rendered>, after: Iterable<Rendered>, shared: SharedElements): Delta {
  const old = collect(before);
  const now = collect(after);
  const delta: Delta = { remove: new Map(), add: new Map(), size: 0 };
  const put = (lists: Map<string, SetElement[]>, set: string, element: SetElement) => {
    const list = lists.get(set);
    if (list) list.push(element);
    else lists.set(set, [element]);
    delta.size++;
  };
  // Shared elements are counted up before they are counted down, so that one that only moves is not written.
  for (const [set, elements] of now)
    for (const [key, { element, count }] of elements) {
      if (sharedSets.has(set)) {
        for (let i = 0; i < count; i++) if (shared.change(set, key, 1)) put(delta.add, set, element);
        continue;
      }
      const one = old.get(set)?.get(key);
      if (!one || elementValue(one.element) !== elementValue(element)) put(delta.add, set, element);
    }
  for (const [set, elements] of old)
    for (const [key, { element, count }] of elements) {
      if (sharedSets.has(set)) {
        for (let i = 0; i < count; i++) if (shared.change(set, key, -1)) put(delta.remove, set, element);
        continue;
      }
      const one = now.get(set)?.get(key);
      if (!one || elementValue(one.element) !== elementValue(element)) put(delta.remove, set, element);
    }
  return delta;
}

function collect(all: Iterable<Rendered>): Map<string, Map<string, { element: SetElement; count: number }>> {
  const found = new Map<string, Map<string, { element: SetElement; count: number }>>();
  for (const { elements } of all)
    for (const { set, element } of elements) {
      let inSet = found.get(set);
      if (!inSet) found.set(set, (inSet = new Map()));
      const key = elementKey(element);
      const known = inSet.get(key);
      if (known) {
        known.count++;
        known.element = element;
      } else inSet.set(key, { element, count: 1 });
    }
  return found;
}

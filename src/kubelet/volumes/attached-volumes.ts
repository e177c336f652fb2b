import { podsOnDisk, volumesOnDisk } from './layout.ts';
import type { VolumePlugin } from './plugin.ts';

/** Volumes of pods here that a controller attaches: the node's status tells it which it must not detach. */
export class AttachedVolumes {
  readonly #root: string;
  readonly #plugins: readonly VolumePlugin[];
  readonly #onChange: () => void;
  /** Unique name → users, `<pod uid>/<what>`. */
  readonly #users = new Map<string, Set<string>>();
  #rebuilt: Promise<void> | undefined;
  #complete = false;

  constructor(root: string, plugins: readonly VolumePlugin[], onChange: () => void) {
    this.#root = root;
    this.#plugins = plugins.filter(({ attach }) => attach);
    this.#onChange = onChange;
  }

  /** The names for the node's status; undefined while those of a former life are still being looked for. */
  names(): string[] | undefined {
    return this.#complete ? [...this.#users.keys()].sort() : undefined;
  }

  add(name: string, user: string): void {
    const users = this.#users.get(name) ?? new Set();
    const before = users.size;
    this.#users.set(name, users.add(user));
    if (before === 0) this.#onChange();
  }

  /** The pod has them no longer, nor any device below them. */
  releasePod(podUid: string): void {
    let changed = false;
    for (const [name, users] of this.#users) {
      for (const user of users) if (user.startsWith(`${podUid}/`)) users.delete(user);
      if (users.size === 0) changed = this.#users.delete(name) || changed;
    }
    if (changed) this.#onChange();
  }

  /** Finds those that are on disk. Done once. */
  rebuild(): Promise<void> {
    this.#rebuilt ??= this.#rebuild().catch((error: unknown) => {
      this.#rebuilt = undefined;
      throw error;
    });
    return this.#rebuilt;
  }

  async #rebuild(): Promise<void> {
    if (this.#plugins.length > 0) {
      for (const podUid of await podsOnDisk(this.#root)) {
        for (const found of await volumesOnDisk(this.#root, podUid)) {
          const plugin = this.#plugins.find(({ name }) => name === found.plugin);
          const name = await plugin?.attach?.uniqueNameOnDisk(found);
          if (name) this.add(name, `${podUid}/${found.plugin}/${found.name}`);
        }
      }
    }
    this.#complete = true;
    if (this.#users.size > 0) this.#onChange();
  }
}

import { SerialRunner } from '../../async/index.ts';
import { podsOnDisk, volumesOnDisk } from './layout.ts';
import type { DevicePhase, VolumePlugin } from './plugin.ts';
import { settleAll } from './settle-all.ts';

/**
 * What is mounted once per node, and which volumes of pods need it. The users are rebuilt from the pods' directories, so
 * that a restart forgets none.
 *
 * Invariant: a device is only unmounted in its own turn, when nobody uses it; a user is counted before its mount begins.
 */
export class DeviceMounts {
  readonly #root: string;
  readonly #plugin: (name: string) => VolumePlugin | undefined;
  readonly #plugins: readonly VolumePlugin[];
  readonly #serial = new SerialRunner();
  /** Device path → users, `<pod uid>/<what>`. */
  readonly #users = new Map<string, Set<string>>();
  /** Devices that this process has mounted. */
  readonly #mounted = new Set<string>();
  #rebuilt: Promise<void> | undefined;

  constructor(root: string, plugins: readonly VolumePlugin[]) {
    this.#root = root;
    this.#plugins = plugins;
    this.#plugin = (name) => plugins.find((one) => one.name === name);
  }

  /** Mounts the device unless that has been done, for a user. */
  use(path: string, user: string, mount: () => Promise<void>): Promise<void> {
    this.#usersOf(path).add(user);
    return this.#serial.run(path, async () => {
      if (this.#mounted.has(path)) return;
      await mount();
      this.#mounted.add(path);
    });
  }

  /** The pod needs its devices no longer: those that nobody else needs are unmounted. */
  async releasePod(podUid: string): Promise<void> {
    await this.rebuild();
    const prefix = `${podUid}/`;
    for (const [path, users] of this.#users) {
      const own = [...users].filter((user) => user.startsWith(prefix));
      if (own.length === 0) continue;
      for (const user of own) users.delete(user);
      await this.#unmountUnused(path);
    }
  }

  /** Unmounts what no pod uses: left by a process that was killed. */
  async collect(): Promise<void> {
    await this.rebuild();
    for (const { device } of this.#plugins) {
      const unused = ((await device?.list()) ?? []).filter((path) => !this.#users.get(path)?.size);
      await settleAll(unused.map((path) => this.#unmount(device!, path)));
    }
  }

  /** Counts the users that are on disk. Done once. */
  rebuild(): Promise<void> {
    this.#rebuilt ??= this.#rebuild().catch((error: unknown) => {
      this.#rebuilt = undefined;
      throw error;
    });
    return this.#rebuilt;
  }

  async #rebuild(): Promise<void> {
    for (const podUid of await podsOnDisk(this.#root)) {
      for (const found of await volumesOnDisk(this.#root, podUid)) {
        const path = await this.#plugin(found.plugin)?.device?.pathOnDisk(found);
        if (path) this.#usersOf(path).add(`${podUid}/${found.plugin}/${found.name}`);
      }
    }
  }

  async #unmountUnused(path: string): Promise<void> {
    for (const { device } of this.#plugins) {
      if ((await device?.list())?.includes(path)) await this.#unmount(device!, path);
    }
    if (!this.#users.get(path)?.size) this.#users.delete(path);
  }

  #unmount(device: DevicePhase, path: string): Promise<void> {
    return this.#serial.run(path, async () => {
      if (this.#users.get(path)?.size) return;
      this.#mounted.delete(path);
      await device.unmount(path);
    });
  }

  #usersOf(path: string): Set<string> {
    let users = this.#users.get(path);
    if (!users) this.#users.set(path, (users = new Set()));
    return users;
  }
}

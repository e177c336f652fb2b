import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupTree } from '../../host/cgroups/index.ts';

/**
 * Finds the cgroups of pods and containers by their names, whichever driver made them and whatever the runtime adds to a
 * container's id (`<id>`, `cri-containerd-<id>.scope`, `crio-<id>`): nothing has to be remembered over a restart.
 */
export class CgroupIndex {
  readonly #tree: CgroupTree;
  readonly #root: string;
  /** Path of each container's cgroup, by id. */
  readonly #containers = new Map<string, string>();
  #pods = new Map<string, string>();

  constructor(tree: CgroupTree, cgroupRoot: string) {
    this.#tree = tree;
    this.#root = cgroupRoot;
  }

  /** The cgroup of all pods; undefined when there is none (yet). */
  root(): string | undefined {
    return this.#parents()[0];
  }

  /** The cgroups of quality classes. */
  classes(): string[] {
    return this.#parents().slice(1);
  }

  /** Looks which pods have a cgroup now. */
  refresh(): void {
    const pods = new Map<string, string>();
    for (const parent of this.#parents())
      for (const name of this.#list(parent)) {
        const uid = /(?:^|-)pod([0-9a-zA-Z_-]+?)(?:\.slice)?$/.exec(name)?.[1];
        if (uid) pods.set(name.endsWith('.slice') ? uid.replaceAll('_', '-') : uid, join(parent, name));
      }
    this.#pods = pods;
  }

  /** The cgroup of a pod. */
  pod(uid: string): string | undefined {
    return this.#pods.get(uid);
  }

  /** The cgroup of a container. */
  container(podUid: string, id: string): string | undefined {
    const known = this.#containers.get(id);
    if (known) return known;
    const pod = this.#pods.get(podUid);
    if (!pod) return undefined;
    const name = this.#list(pod).find((one) => one.includes(id));
    if (!name) return undefined;
    const path = join(pod, name);
    this.#containers.set(id, path);
    return path;
  }

  /** Forgets containers that are none of these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#containers.keys()) if (!ids.has(id)) this.#containers.delete(id);
  }

  #parents(): string[] {
    for (const names of [
      ['kubepods', 'kubepods/burstable', 'kubepods/besteffort'],
      ['kubepods.slice', 'kubepods.slice/kubepods-burstable.slice', 'kubepods.slice/kubepods-besteffort.slice'],
    ]) {
      const paths = names.map((name) => join('/', this.#root, name));
      if (this.#tree.exists(paths[0]!)) return paths;
    }
    return [];
  }

  #list(path: string): string[] {
    const directory = this.#tree.directory('memory', path) ?? this.#tree.directories(path)[0];
    try {
      return directory
        ? readdirSync(directory, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [one.name] : []))
        : [];
    } catch {
      return [];
    }
  }
}

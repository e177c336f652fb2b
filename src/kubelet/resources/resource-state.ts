import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ResourceRequirements } from '../../api/index.ts';
import type { Logger } from '../../log/index.ts';
import type { PodResources } from './pod-resources.ts';

/** What a state file holds; the checksum is that of the pods' JSON. */
interface StateFile {
  version: 1;
  checksum: string;
  pods: Record<string, PodResources>;
}

/**
 * The resources of pods, kept in a file so that a restart, planned or not, knows what was given to whom. Written to a
 * temporary file and renamed; many changes in one turn are one write. A file that cannot be used is told and begun anew:
 * pods then count with what their spec says.
 */
export class ResourceState {
  readonly #path: string;
  readonly #log: Logger;
  readonly #pods: Map<string, PodResources>;
  #writing: Promise<void> = Promise.resolve();
  #pending: Promise<void> | undefined;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
    this.#pods = new Map(Object.entries(readState(path, log)));
  }

  get(podUid: string): PodResources | undefined {
    return this.#pods.get(podUid);
  }

  set(podUid: string, resources: PodResources): void {
    if (JSON.stringify(this.#pods.get(podUid)) === JSON.stringify(resources)) return;
    this.#pods.set(podUid, resources);
    void this.save();
  }

  /** Takes over the resources of one container. */
  setContainer(podUid: string, name: string, resources: ResourceRequirements): void {
    const known = this.#pods.get(podUid) ?? { containers: {} };
    this.set(podUid, { ...known, containers: { ...known.containers, [name]: resources } });
  }

  /** Takes over the resources of a pod as a whole. */
  setPod(podUid: string, resources: ResourceRequirements | undefined): void {
    const { containers } = this.#pods.get(podUid) ?? { containers: {} };
    this.set(podUid, { ...(resources ? { pod: resources } : {}), containers });
  }

  remove(podUid: string): void {
    if (this.#pods.delete(podUid)) void this.save();
  }

  /** Forgets pods that are none of these. */
  keepOnly(known: { has(podUid: string): boolean }): void {
    for (const uid of this.#pods.keys()) if (!known.has(uid)) this.remove(uid);
  }

  /** Resolves when everything up to now is in the file (or could not be written, which is told in the log). */
  save(): Promise<void> {
    this.#pending ??= this.#writing.then(async () => {
      this.#pending = undefined;
      await this.#write();
    });
    this.#writing = this.#pending;
    return this.#pending;
  }

  async #write(): Promise<void> {
    const pods = Object.fromEntries(this.#pods);
    const file: StateFile = { version: 1, checksum: checksum(pods), pods };
    try {
      const temporary = `${this.#path}.new`;
      await writeFile(temporary, JSON.stringify(file), { mode: 0o600 });
      await rename(temporary, this.#path);
    } catch (error) {
      this.#log.warn('the resources of pods are not saved', { path: this.#path, error });
    }
  }
}

function checksum(pods: Record<string, PodResources>): string {
  return createHash('sha256').update(JSON.stringify(pods)).digest('hex');
}

function readState(path: string, log: Logger): Record<string, PodResources> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    mkdirSync(dirname(path), { recursive: true });
    return {};
  }
  try {
    const { version, checksum: expected, pods } = JSON.parse(text) as StateFile;
    if (version !== 1) throw new Error(`version ${version} is not known`);
    if (checksum(pods) !== expected) throw new Error('the checksum does not fit');
    return pods;
  } catch (error) {
    log.warn('the saved resources of pods cannot be used, and are begun anew', { path, error });
    return {};
  }
}

import { type Resource, resource } from '../../../api/index.ts';
import type { Clock } from '../../../async/index.ts';
import type { ApiClient } from '../../../client/index.ts';

/** A resource that the API server says it serves. */
export interface ServedResource extends Resource<any> {
  verbs: readonly string[];
}

/** What the API server serves now, and the groups that could not be asked. */
export interface Discovery {
  resources: ServedResource[];
  failed: string[];
}

interface ResourceList {
  groupVersion: string;
  resources: { name: string; kind: string; namespaced: boolean; verbs: string[]; group?: string; version?: string }[];
}

/** An answer is good for this long, milliseconds; new kinds are rare. */
const freshMs = 30_000;

/** Asks which resources there are, each once, in the version that its group prefers. */
export class DiscoveryCache {
  readonly #client: ApiClient;
  readonly #clock: Clock;
  #last: { at: number; answer: Promise<Discovery> } | undefined;

  constructor(client: ApiClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }
  /** The resources, from a recent answer unless `fresh`. */
  get(options: { fresh?: boolean } = {}): Promise<Discovery> {
    const now = this.#clock.monotonic();
    if (!this.#last || options.fresh || now - this.#last.at > freshMs) {
      const answer = this.#ask();
      this.#last = { at: now, answer };
      answer.catch(() => {
        this.#last = undefined;
      });
    }
    return this.#last.answer;
  }
  async #ask(): Promise<Discovery> {
    const groups = await this.#json<{ groups: { versions: { groupVersion: string }[] }[] }>('/apis');
    const lists = groups.groups.map(({ versions }) => versions.map(({ groupVersion }) => `/apis/${groupVersion}`));
    const failed: string[] = [];
    const found = new Map<string, ServedResource>();
    const perGroup = await Promise.all(
      [['/api/v1'], ...lists].map((paths) =>
        Promise.all(
          paths.map((path) =>
            this.#json<ResourceList>(path).catch(() => {
              failed.push(path);
              return undefined;
            }),
          ),
        ),
      ),
    );
    // The preferred version of a group comes first; other versions only add what it lacks.
    for (const list of perGroup.flat()) {
      if (!list) continue;
      const [version = '', group = ''] = list.groupVersion.split('/').reverse();
      for (const one of list.resources) {
        const key = `${group}/${one.name}`;
        if (one.name.includes('/') || found.has(key)) continue;
        found.set(key, { ...resource(group, version, one.name, one.kind, one.namespaced), verbs: one.verbs });
      }
    }
    return { resources: [...found.values()], failed };
  }
  async #json<T>(path: string): Promise<T> {
    return JSON.parse((await this.#client.request('GET', path)).body.toString()) as T;
  }
}

import { type ResourceRow, resourceRows, typeNameOf } from '../../api/schema/index.ts';

/** A resource as it is served in one version. */
export interface ResourceInfo {
  group: string;
  version: string;
  plural: string;
  kind: string;
  namespaced: boolean;
  singular: string;
  shortNames: readonly string[];
  categories: readonly string[];
  verbs: readonly string[];
  /** `v1` or `group/version`. */
  apiVersion: string;
  /** `plural` or `group/plural`: names the resource's rules and where its objects are stored. */
  key: string;
  /** The version in which objects are stored: another resource when two share a store. */
  storage: ResourceInfo;
  /** The name of its type in the schema; empty when it has none. */
  typeName: string;
  subresources: ReadonlyMap<string, ResourceRow>;
  hasStatus: boolean;
}

/** Two resources that are one: the second is stored as the first. */
const shared: readonly (readonly [string, string])[] = [
  ['v1/events', 'events.k8s.io/v1/events'],
  ['autoscaling/v2/horizontalpodautoscalers', 'autoscaling/v1/horizontalpodautoscalers'],
];

/** The names by which extensions know a resource: `pods`, `apps/deployments`. */
export function resourceKey(group: string, plural: string): string {
  return group === '' ? plural : `${group}/${plural}`;
}

/** Finds resources by path, by kind, by key. */
export class ResourceTable {
  readonly #byPath = new Map<string, ResourceInfo>();
  readonly #byKey = new Map<string, ResourceInfo>();

  constructor(rows: readonly ResourceRow[] = resourceRows) {
    for (const row of rows) if (row.subresource === '') this.#add(row, rows);
    for (const [first, second] of shared) {
      const storage = this.#byPath.get(first);
      const other = this.#byPath.get(second);
      if (storage && other) {
        other.storage = storage;
        if (other.key === storage.key) this.#byKey.set(storage.key, storage);
      }
    }
  }

  #add(row: ResourceRow, rows: readonly ResourceRow[]): void {
    const apiVersion = row.group === '' ? row.version : `${row.group}/${row.version}`;
    const same = (one: ResourceRow) =>
      one.group === row.group && one.version === row.version && one.plural === row.plural && one.subresource !== '';
    const subresources = new Map(rows.filter(same).map((one) => [one.subresource, one]));
    const info: ResourceInfo = {
      group: row.group,
      version: row.version,
      plural: row.plural,
      kind: row.kind,
      namespaced: row.namespaced,
      singular: row.singular,
      shortNames: row.shortNames,
      categories: row.categories,
      verbs: row.verbs,
      apiVersion,
      key: resourceKey(row.group, row.plural),
      storage: undefined as unknown as ResourceInfo,
      typeName: typeNameOf(apiVersion, row.kind) ?? '',
      subresources,
      hasStatus: subresources.has('status'),
    };
    info.storage = info;
    this.#byPath.set(`${apiVersion}/${row.plural}`, info);
    if (!this.#byKey.has(info.key)) this.#byKey.set(info.key, info);
  }

  /** The resource at `/api/v1/pods` or `/apis/apps/v1/deployments`. */
  at(group: string, version: string, plural: string): ResourceInfo | undefined {
    return this.#byPath.get(group === '' ? `${version}/${plural}` : `${group}/${version}/${plural}`);
  }

  /** The resource of a key (`apps/deployments`), in its storage version. */
  withKey(key: string): ResourceInfo | undefined {
    return this.#byKey.get(key)?.storage;
  }

  all(): ResourceInfo[] {
    return [...this.#byPath.values()];
  }

  /** Group and versions in the order of discovery; the first version is preferred. */
  groups(): Map<string, string[]> {
    const groups = new Map<string, string[]>();
    for (const { group, version } of this.#byPath.values()) {
      const versions = groups.get(group);
      if (!versions) groups.set(group, [version]);
      else if (!versions.includes(version)) versions.push(version);
    }
    return groups;
  }
}

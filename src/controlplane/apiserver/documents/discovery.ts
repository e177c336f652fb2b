import type { ResourceRow } from '../../../api/schema/index.ts';
import { parseAccept } from '../http/negotiate.ts';
import type { ResourceInfo, ResourceTable } from '../resource-table.ts';

/** A document and how it is labelled. */
export interface DiscoveryAnswer {
  contentType: string;
  body: object;
}

/** The discovery documents: `/api`, `/apis`, `/api/v1`, `/apis/{group}`, `/apis/{group}/{version}`, plain and aggregated. */
export class Discovery {
  readonly #resources: ResourceTable;
  readonly #serverAddress: string;
  readonly #cache = new Map<string, DiscoveryAnswer | undefined>();

  constructor(resources: ResourceTable, serverAddress: string) {
    this.#resources = resources;
    this.#serverAddress = serverAddress;
  }

  /** The document at the path, or undefined. */
  answer(path: string, accept: string | undefined): DiscoveryAnswer | undefined {
    const clean = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
    if (!/^\/apis?(?:\/|$)/.test(clean)) return undefined;
    const aggregated = clean === '/api' || clean === '/apis' ? aggregatedVersion(accept) : undefined;
    const key = `${clean} ${aggregated ?? ''}`;
    if (this.#cache.has(key)) return this.#cache.get(key);
    const answer = aggregated
      ? {
          contentType: `application/json;g=apidiscovery.k8s.io;v=${aggregated};as=APIGroupDiscoveryList`,
          body: this.#aggregated(clean === '/api', aggregated),
        }
      : this.#plain(clean);
    if (answer) this.#cache.set(key, answer);
    return answer;
  }

  #plain(path: string): DiscoveryAnswer | undefined {
    const body = this.#plainBody(path.split('/').slice(1));
    return body && { contentType: 'application/json', body };
  }

  #plainBody([root, first, second, ...rest]: string[]): object | undefined {
    if (rest.length > 0) return undefined;
    if (root === 'api') {
      if (first === undefined) {
        const serverAddressByClientCIDRs = [{ clientCIDR: '0.0.0.0/0', serverAddress: this.#serverAddress }];
        return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs };
      }
      return second === undefined ? this.#resourceList('', first) : undefined;
    }
    if (first === undefined) {
      return { kind: 'APIGroupList', apiVersion: 'v1', groups: this.#namedGroups().map(([g, v]) => groupOf(g, v)) };
    }
    if (second !== undefined) return this.#resourceList(first, second);
    const versions = first === '' ? undefined : this.#resources.groups().get(first);
    return versions && { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(first, versions) };
  }

  #namedGroups(): [string, string[]][] {
    return [...this.#resources.groups()].filter(([group]) => group !== '');
  }

  #infos(group: string, version: string): ResourceInfo[] {
    return this.#resources.all().filter((info) => info.group === group && info.version === version);
  }

  #resourceList(group: string, version: string): object | undefined {
    const infos = this.#infos(group, version);
    if (infos.length === 0) return undefined;
    const resources = infos.flatMap((info) => [
      {
        name: info.plural,
        singularName: info.singular,
        namespaced: info.namespaced,
        kind: info.kind,
        verbs: info.verbs,
        ...(info.shortNames.length > 0 ? { shortNames: info.shortNames } : {}),
        ...(info.categories.length > 0 ? { categories: info.categories } : {}),
      },
      ...[...info.subresources.values()].map((row) => plainSubresource(info, row)),
    ]);
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: infos[0]!.apiVersion, resources };
  }

  #aggregated(core: boolean, version: string): object {
    const groups: [string, string[]][] = core ? [['', ['v1']]] : this.#namedGroups();
    return {
      kind: 'APIGroupDiscoveryList',
      apiVersion: `apidiscovery.k8s.io/${version}`,
      metadata: {},
      items: groups.map(([group, versions]) => ({
        metadata: { ...(group ? { name: group } : {}), creationTimestamp: null },
        versions: versions.map((one) => ({
          version: one,
          resources: this.#infos(group, one).map(aggregatedResource),
          freshness: 'Current',
        })),
      })),
    };
  }
}

function groupOf(name: string, versions: string[]): object {
  const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: entries, preferredVersion: entries[0] };
}

function kindOf(info: ResourceInfo, row: ResourceRow) {
  const [version = '', group = ''] = (row.kindGroupVersion ?? info.apiVersion).split('/').reverse();
  return { group, version, kind: row.kind };
}

function plainSubresource(info: ResourceInfo, row: ResourceRow): object {
  const { group, version, kind } = kindOf(info, row);
  return {
    name: `${info.plural}/${row.subresource}`,
    singularName: '',
    namespaced: info.namespaced,
    ...(row.kindGroupVersion ? { group, version } : {}),
    kind,
    verbs: row.verbs,
  };
}

function aggregatedResource(info: ResourceInfo): object {
  return {
    resource: info.plural,
    responseKind: { group: info.group, version: info.version, kind: info.kind },
    scope: info.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: info.singular,
    verbs: info.verbs,
    ...(info.shortNames.length > 0 ? { shortNames: info.shortNames } : {}),
    ...(info.categories.length > 0 ? { categories: info.categories } : {}),
    ...(info.subresources.size > 0
      ? {
          subresources: [...info.subresources.values()].map((row) => ({
            subresource: row.subresource,
            responseKind: kindOf(info, row),
            verbs: row.verbs,
          })),
        }
      : {}),
  };
}

/** The version of aggregated discovery that the client prefers to the plain documents, if it does. */
function aggregatedVersion(accept: string | undefined): string | undefined {
  for (const { type, parameters } of parseAccept(accept)) {
    if (type !== 'application/json') continue;
    if (parameters['as'] === undefined) return undefined;
    const { g, v, as } = parameters;
    if (g === 'apidiscovery.k8s.io' && as === 'APIGroupDiscoveryList' && (v === 'v2' || v === 'v2beta1')) return v;
  }
  return undefined;
}

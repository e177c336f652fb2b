/** Where a kind of object lives in the API: `/apis/{group}/{version}/namespaces/{ns}/{plural}`. */
export interface Resource<T> {
  /** API group; empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** Plural, lower-case name, as in URLs. */
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** `v1` or `group/version`, as in an object's apiVersion. */
  readonly apiVersion: string;
  /** Carries the object's type; never set. */
  readonly type?: T;
}

/** Makes the descriptor of one resource. */
export function resource<T>(
  group: string,
  version: string,
  plural: string,
  kind: string,
  namespaced: boolean,
): Resource<T> {
  return { group, version, plural, kind, namespaced, apiVersion: group === '' ? version : `${group}/${version}` };
}

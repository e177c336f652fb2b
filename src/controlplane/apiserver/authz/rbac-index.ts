import type { Registry, RequestAttributes, UserInfo } from '../extension-points.ts';

/** One rule of a Role or ClusterRole. */
export interface PolicyRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

interface Binding {
  kind: 'RoleBinding' | 'ClusterRoleBinding';
  metadata: { name: string; namespace?: string };
  roleRef: { kind: string; name: string };
  subjects?: { kind: string; name: string; namespace?: string }[];
}

/** A binding that speaks for a user, and the rules it gives. */
export interface Grant {
  binding: Binding;
  rules: readonly PolicyRule[];
}

const group = 'rbac.authorization.k8s.io';

/** The name that a service account has as a user. */
export const serviceAccountUser = (namespace: string, name: string): string =>
  `system:serviceaccount:${namespace}:${name}`;

function subjectKeys(binding: Binding): string[] {
  return (binding.subjects ?? []).map((subject) => {
    if (subject.kind === 'Group') return `group ${subject.name}`;
    if (subject.kind === 'User') return `user ${subject.name}`;
    return `user ${serviceAccountUser(subject.namespace ?? binding.metadata.namespace ?? '', subject.name)}`;
  });
}

/** Roles and bindings in memory, found by subject; follows what is committed. */
export class RbacIndex {
  readonly #roles = new Map<string, PolicyRule[]>();
  /** By `namespace|subject`; the namespace is empty for ClusterRoleBindings. */
  readonly #bindings = new Map<string, Map<string, Binding>>();
  readonly #known = new Map<string, Binding>();

  /** Reads what is there and follows every change from now on. Returns how to stop. */
  follow(registry: Registry): () => void {
    const stops = ['roles', 'clusterroles', 'rolebindings', 'clusterrolebindings'].map((plural) => {
      const resource = `${group}/${plural}`;
      const isRole = plural.endsWith('roles');
      const note = (object: any, present: boolean) =>
        isRole ? this.#noteRole(object, present) : this.#noteBinding(object, present);
      for (const object of registry.list(resource)) note(object, true);
      return registry.subscribe(resource, ({ type, object }) => note(object, type !== 'DELETED'));
    });
    return () => {
      for (const stop of stops) stop();
    };
  }

  #noteRole(role: any, present: boolean): void {
    const key = `${role.metadata.namespace ?? ''}/${role.metadata.name}`;
    if (present) this.#roles.set(key, role.rules ?? []);
    else this.#roles.delete(key);
  }

  #noteBinding(binding: any, present: boolean): void {
    const namespace = binding.metadata.namespace ?? '';
    const key = `${namespace}/${binding.metadata.name}`;
    const before = this.#known.get(key);
    for (const subject of before ? subjectKeys(before) : []) this.#bindings.get(`${namespace}|${subject}`)?.delete(key);
    this.#known.delete(key);
    if (!present) return;
    this.#known.set(key, binding);
    for (const subject of subjectKeys(binding)) {
      const at = `${namespace}|${subject}`;
      const list = this.#bindings.get(at) ?? new Map<string, Binding>();
      list.set(key, binding);
      this.#bindings.set(at, list);
    }
  }

  /** The rules that a role reference stands for; undefined when the role does not exist. */
  rulesOf(roleRef: { kind: string; name: string }, namespace: string): readonly PolicyRule[] | undefined {
    return this.#roles.get(`${roleRef.kind === 'ClusterRole' ? '' : namespace}/${roleRef.name}`);
  }

  /** What the user is granted in the whole cluster and, with a namespace, in that namespace. */
  *grants(user: UserInfo, namespace: string): Generator<Grant> {
    const subjects = [`user ${user.username}`, ...user.groups.map((one) => `group ${one}`)];
    for (const scope of namespace === '' ? [''] : ['', namespace]) {
      for (const subject of subjects) {
        for (const binding of this.#bindings.get(`${scope}|${subject}`)?.values() ?? []) {
          const rules = this.rulesOf(binding.roleRef, scope);
          if (rules) yield { binding, rules };
        }
      }
    }
  }
}

const has = (list: readonly string[] | undefined, value: string): boolean =>
  list !== undefined && (list.includes(value) || list.includes('*'));

/** Whether a rule allows what is asked. */
export function ruleAllows(rule: PolicyRule, attributes: RequestAttributes): boolean {
  if (!has(rule.verbs, attributes.verb)) return false;
  const { resource } = attributes;
  if (!resource) return rule.nonResourceURLs?.some((pattern) => pathMatches(pattern, attributes.path)) ?? false;
  if (!has(rule.apiGroups, resource.group)) return false;
  const { plural, subresource } = resource;
  const wanted = subresource ? `${plural}/${subresource}` : plural;
  const named = rule.resources?.some(
    (one) => one === '*' || one === wanted || (subresource !== '' && one === `*/${subresource}`),
  );
  if (!named) return false;
  return !rule.resourceNames?.length || rule.resourceNames.includes(attributes.name);
}

function pathMatches(pattern: string, path: string): boolean {
  if (pattern === '*' || pattern === path) return true;
  return pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1));
}

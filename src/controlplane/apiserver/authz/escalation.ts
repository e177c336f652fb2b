import type { AdmissionPlugin, AdmissionRequest, RequestAttributes, UserInfo } from '../extension-points.ts';
import { StatusError } from '../status-error.ts';
import { type ClusterAuthorizer, mastersGroup } from './authorizer.ts';
import type { PolicyRule } from './rbac-index.ts';

const group = 'rbac.authorization.k8s.io';

/** Breaks a rule into its smallest parts: one verb on one resource (and name), or on one path. */
function* parts(rule: PolicyRule): Generator<PolicyRule> {
  for (const verb of rule.verbs) {
    for (const path of rule.nonResourceURLs ?? []) yield { verbs: [verb], nonResourceURLs: [path] };
    for (const apiGroup of rule.apiGroups ?? []) {
      for (const resource of rule.resources ?? []) {
        const names = rule.resourceNames?.length ? rule.resourceNames : [undefined];
        for (const name of names) {
          yield {
            verbs: [verb],
            apiGroups: [apiGroup],
            resources: [resource],
            ...(name ? { resourceNames: [name] } : {}),
          };
        }
      }
    }
  }
}

const within = (list: readonly string[] | undefined, value: string): boolean =>
  list?.some((one) => one === '*' || one === value) ?? false;

/** Whether a rule that somebody has covers one smallest part of another. */
function covers(owned: PolicyRule, part: PolicyRule): boolean {
  if (!within(owned.verbs, part.verbs[0]!)) return false;
  const path = part.nonResourceURLs?.[0];
  if (path !== undefined) {
    return (
      owned.nonResourceURLs?.some(
        (one) => one === '*' || one === path || (one.endsWith('*') && path.startsWith(one.slice(0, -1))),
      ) ?? false
    );
  }
  if (!within(owned.apiGroups, part.apiGroups![0]!)) return false;
  const resource = part.resources![0]!;
  const slash = resource.indexOf('/');
  const covered =
    within(owned.resources, resource) || (slash > 0 && owned.resources?.includes(`*${resource.slice(slash)}`));
  if (!covered) return false;
  if (!owned.resourceNames?.length) return true;
  return part.resourceNames !== undefined && owned.resourceNames.includes(part.resourceNames[0]!);
}

function format(rule: PolicyRule): string {
  const list = (name: string, values: string[] | undefined) =>
    values ? `${name}:${JSON.stringify(values).replaceAll(',', ' ')}` : '';
  const fields = [
    list('APIGroups', rule.apiGroups),
    list('Resources', rule.resources),
    list('ResourceNames', rule.resourceNames),
    list('NonResourceURLs', rule.nonResourceURLs),
    list('Verbs', rule.verbs),
  ];
  return `{${fields.filter(Boolean).join(', ')}}`;
}

/** Nobody gives away rights that they do not have themselves, unless they were trusted with that (verbs escalate and bind). */
export function escalationCheck(authorizer: ClusterAuthorizer): AdmissionPlugin {
  const may = (request: AdmissionRequest, verb: string, plural: string, name: string): boolean => {
    const attributes: RequestAttributes = {
      user: request.user,
      verb,
      resource: { group, version: 'v1', plural, subresource: '' },
      namespace: plural === 'clusterroles' ? '' : request.namespace,
      name,
      path: '',
    };
    return authorizer.decide(attributes).allowed;
  };
  const missing = (user: UserInfo, namespace: string, rules: readonly PolicyRule[]): PolicyRule[] => {
    const owned = [...authorizer.index.grants(user, namespace)].flatMap((grant) => grant.rules);
    return rules.flatMap((rule) => [...parts(rule)].filter((part) => !owned.some((one) => covers(one, part))));
  };
  return {
    name: 'RBACEscalation',
    validate: (request) => {
      const { resource, user, object, operation, namespace } = request;
      if (resource.group !== group || !object || (operation !== 'CREATE' && operation !== 'UPDATE')) return;
      if (user.groups.includes(mastersGroup)) return;
      let rules: readonly PolicyRule[] = object.rules ?? [];
      if (resource.plural.endsWith('roles')) {
        if (may(request, 'escalate', resource.plural, request.name)) return;
      } else {
        const { roleRef } = object;
        const plural = roleRef.kind === 'ClusterRole' ? 'clusterroles' : 'roles';
        if (may(request, 'bind', plural, roleRef.name)) return;
        const found = authorizer.index.rulesOf(roleRef, namespace);
        if (!found) {
          const kind = `${plural}.${group}`;
          throw new StatusError(404, 'NotFound', `${kind} "${roleRef.name}" not found`, {
            name: roleRef.name,
            group,
            kind: plural,
          });
        }
        rules = found;
      }
      const lacking = missing(user, namespace, rules);
      if (lacking.length === 0) return;
      const list = lacking.slice(0, 20).map(format).join('\n');
      const text = `${resource.plural}.${group} "${request.name}" is forbidden: user "${user.username}" (groups=${JSON.stringify(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${list}`;
      throw new StatusError(403, 'Forbidden', text, { name: request.name, group, kind: resource.plural });
    },
  };
}

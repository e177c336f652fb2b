import type { Authorizer, Registry, RequestAttributes } from '../extension-points.ts';
import { StatusError } from '../status-error.ts';
import { NodeAuthorizer } from './node-authorizer.ts';
import { RbacIndex, ruleAllows } from './rbac-index.ts';

/** The group that may do everything. */
export const mastersGroup = 'system:masters';

/** Decides by group system:masters, by what a node runs, and by RBAC. */
export class ClusterAuthorizer implements Authorizer {
  readonly index = new RbacIndex();
  readonly #nodes = new NodeAuthorizer();

  /** Reads roles, bindings and pods, and follows them. Returns how to stop. */
  follow(registry: Registry): () => void {
    const stops = [this.index.follow(registry), this.#nodes.follow(registry)];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** As authorize(), at once. */
  decide(attributes: RequestAttributes): { allowed: boolean; reason: string } {
    if (attributes.user.groups.includes(mastersGroup)) return { allowed: true, reason: '' };
    const node = this.#nodes.authorize(attributes);
    if (node?.allowed) return node;
    for (const { binding, rules } of this.index.grants(attributes.user, attributes.namespace)) {
      if (!rules.some((rule) => ruleAllows(rule, attributes))) continue;
      const { kind, roleRef, metadata } = binding;
      const place = metadata.namespace ? `${metadata.name}/${metadata.namespace}` : metadata.name;
      const reason = `RBAC: allowed by ${kind} "${place}" of ${roleRef.kind} "${roleRef.name}" to User "${attributes.user.username}"`;
      return { allowed: true, reason };
    }
    return node ?? { allowed: false, reason: '' };
  }

  async authorize(attributes: RequestAttributes): Promise<{ allowed: boolean; reason: string }> {
    return this.decide(attributes);
  }
}

/** What a user may not do, as upstream says it: `pods is forbidden: User "x" cannot list resource "pods" …`. */
export function forbidden(attributes: RequestAttributes, reason = ''): StatusError {
  const { user, verb, resource, namespace, name, path } = attributes;
  const because = reason ? `: ${reason}` : '';
  if (!resource) {
    return new StatusError(
      403,
      'Forbidden',
      `forbidden: User "${user.username}" cannot ${verb} path "${path}"${because}`,
      {},
    );
  }
  const full = resource.subresource ? `${resource.plural}/${resource.subresource}` : resource.plural;
  const kind = resource.group ? `${resource.plural}.${resource.group}` : resource.plural;
  const subject = name ? `${kind} "${name}"` : kind;
  const scope = namespace ? `in the namespace "${namespace}"` : 'at the cluster scope';
  const text = `${subject} is forbidden: User "${user.username}" cannot ${verb} resource "${full}" in API group "${resource.group}" ${scope}${because}`;
  return new StatusError(403, 'Forbidden', text, {
    ...(name ? { name } : {}),
    ...(resource.group ? { group: resource.group } : {}),
    kind: resource.plural,
  });
}

/** Kinds that are only calls: who am I, is this token good, may somebody do something. */
import { type AuthenticationOptions, findTokenUser } from '../authn/index.ts';
import type { ClusterAuthorizer } from '../authz/index.ts';
import type { Connector, RequestAttributes, UserInfo } from '../extension-points.ts';
import { answer, badRequest, methodNotAllowed, toTime } from './answers.ts';

const authentication = 'authentication.k8s.io';
const authorization = 'authorization.k8s.io';

/** The connectors of authentication.k8s.io and authorization.k8s.io. */
export function createReviews(
  options: AuthenticationOptions,
  authorizer: ClusterAuthorizer,
): Record<string, Connector> {
  const review =
    (make: (request: Parameters<Connector>[0]) => any): Connector =>
    async (request) => {
      if (request.method !== 'POST') throw methodNotAllowed();
      const body = request.body ?? {};
      const metadata = { ...body.metadata, creationTimestamp: toTime(options.clock.now()) };
      return answer({ ...body, metadata, status: make(request) });
    };
  const accessOf = (user: UserInfo, spec: any, namespace?: string) => {
    const attributes = attributesOf(user, spec, namespace);
    const { allowed, reason } = authorizer.decide(attributes);
    return { allowed, ...(reason ? { reason } : {}) };
  };
  const named = (spec: any): UserInfo => {
    if (!spec?.user && !spec?.groups?.length) throw badRequest('at least one of user or group must be specified');
    return {
      username: spec.user ?? '',
      groups: spec.groups ?? [],
      ...(spec.uid ? { uid: spec.uid } : {}),
      extra: spec.extra,
    };
  };
  return {
    [`${authentication}/tokenreviews`]: review(({ body }) => {
      const audiences: string[] = body?.spec?.audiences?.length ? body.spec.audiences : [...options.audiences];
      if (!body?.spec?.token) throw badRequest('token is required for TokenReview in authentication');
      const found = findTokenUser(options, body.spec.token, audiences);
      if (found instanceof Error) return { authenticated: false, user: {}, error: found.message };
      return { authenticated: true, user: found.user, audiences: found.audiences };
    }),
    [`${authentication}/selfsubjectreviews`]: review(({ user }) => ({ userInfo: user })),
    [`${authorization}/subjectaccessreviews`]: review(({ body }) => accessOf(named(body?.spec), body?.spec)),
    [`${authorization}/selfsubjectaccessreviews`]: review(({ body, user }) => accessOf(user, body?.spec)),
    [`${authorization}/localsubjectaccessreviews`]: review(({ body, namespace }) => {
      const wanted: string | undefined = body?.spec?.resourceAttributes?.namespace;
      if (wanted !== namespace) {
        throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
      }
      return accessOf(named(body?.spec), body?.spec, namespace);
    }),
    [`${authorization}/selfsubjectrulesreviews`]: review(({ body, user }) =>
      rulesFor(authorizer, user, body?.spec?.namespace),
    ),
  };
}

function attributesOf(user: UserInfo, spec: any, namespace?: string): RequestAttributes {
  const { resourceAttributes: resource, nonResourceAttributes: path } = spec ?? {};
  if (Boolean(resource) === Boolean(path)) {
    throw badRequest('exactly one of nonResourceAttributes or resourceAttributes must be specified');
  }
  if (path) return { user, verb: path.verb ?? '', namespace: '', name: '', path: path.path ?? '' };
  return {
    user,
    verb: resource.verb ?? '',
    resource: {
      group: resource.group ?? '',
      version: resource.version ?? '',
      plural: resource.resource ?? '',
      subresource: resource.subresource ?? '',
    },
    namespace: namespace ?? resource.namespace ?? '',
    name: resource.name ?? '',
    path: '',
  };
}

function rulesFor(authorizer: ClusterAuthorizer, user: UserInfo, namespace: string | undefined) {
  if (!namespace) throw badRequest('no namespace on request');
  const rules = [...authorizer.index.grants(user, namespace)].flatMap((grant) => grant.rules);
  return {
    resourceRules: rules
      .filter((rule) => rule.resources?.length)
      .map(({ verbs, apiGroups = [], resources = [], resourceNames }) => ({
        verbs,
        apiGroups,
        resources,
        ...(resourceNames ? { resourceNames } : {}),
      })),
    nonResourceRules: rules
      .filter((rule) => rule.nonResourceURLs?.length)
      .map(({ verbs, nonResourceURLs = [] }) => ({ verbs, nonResourceURLs })),
    incomplete: false,
  };
}

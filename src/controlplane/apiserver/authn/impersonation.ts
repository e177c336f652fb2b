import { type ClusterAuthorizer, forbidden } from '../authz/index.ts';
import type { RequestAttributes, UserInfo } from '../extension-points.ts';
import { StatusError } from '../status-error.ts';

type Headers = Readonly<Record<string, string | string[] | undefined>>;

const all = (headers: Headers, name: string): string[] =>
  [headers[name] ?? []]
    .flat()
    .flatMap((value) => value.split(/,\s*/))
    .filter(Boolean);

const accountPattern = /^system:serviceaccount:([^:]+):([^:]+)$/;

/**
 * The user that a request wants to be taken for (`Impersonate-User` and its like), when the caller may do that.
 * @throws StatusError 403 when the caller may not, 400 when a group or uid is named without a user
 */
export function impersonate(caller: UserInfo, headers: Headers, authorizer: ClusterAuthorizer): UserInfo {
  const [username] = all(headers, 'impersonate-user');
  const groups = all(headers, 'impersonate-group');
  const [uid] = all(headers, 'impersonate-uid');
  const extra: Record<string, string[]> = {};
  for (const name of Object.keys(headers)) {
    if (name.startsWith('impersonate-extra-')) {
      extra[decodeURIComponent(name.slice('impersonate-extra-'.length))] = all(headers, name);
    }
  }
  if (username === undefined) {
    if (groups.length === 0 && uid === undefined && Object.keys(extra).length === 0) return caller;
    throw new StatusError(400, 'BadRequest', 'requested impersonation without impersonating a user');
  }
  const check = (plural: string, name: string, namespace = '', group = '', subresource = ''): void => {
    const attributes: RequestAttributes = {
      user: caller,
      verb: 'impersonate',
      resource: { group, version: 'v1', plural, subresource },
      namespace,
      name,
      path: '',
    };
    const { allowed, reason } = authorizer.decide(attributes);
    if (!allowed) throw forbidden(attributes, reason);
  };
  const account = accountPattern.exec(username);
  if (account) check('serviceaccounts', account[2]!, account[1]!);
  else check('users', username);
  for (const group of groups) check('groups', group);
  if (uid !== undefined) check('uids', uid, '', 'authentication.k8s.io');
  for (const key in extra)
    for (const value of extra[key]!) check('userextras', value, '', 'authentication.k8s.io', key);
  const own =
    account && groups.length === 0 ? ['system:serviceaccounts', `system:serviceaccounts:${account[1]}`] : groups;
  const known = username === 'system:anonymous' ? 'system:unauthenticated' : 'system:authenticated';
  return {
    username,
    ...(uid === undefined ? {} : { uid }),
    groups: [...new Set([...own, known])],
    ...(Object.keys(extra).length > 0 ? { extra } : {}),
  };
}

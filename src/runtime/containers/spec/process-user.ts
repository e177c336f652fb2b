import { type LinuxContainerSecurityContext, SupplementalGroupsPolicy } from '../../../api/cri/index.ts';
import { invalid } from '../../errors.ts';
import type { ResolvedUser } from '../../store/container-record.ts';
import type { GroupEntry, PasswdEntry, UserTables } from './user-tables.ts';

/**
 * Who the process is: the security context's user, else the image's (`user`, `uid:gid`, `user:group`, …), looked up in
 * the image's own /etc/passwd and /etc/group, with the supplemental groups that the policy asks for.
 * @throws RuntimeError INVALID_ARGUMENT for a name that the files do not have
 */
export function resolveUser(
  { users, groups }: UserTables,
  imageUser: string,
  context: LinuxContainerSecurityContext | undefined,
): ResolvedUser {
  const asked = context?.runAsUser ? String(context.runAsUser.value) : context?.runAsUsername;
  if (context?.runAsGroup && !asked) throw invalid('user group is specified without user');
  const [userPart = '', imageGroup] = (asked || imageUser).split(':');
  const groupPart = context?.runAsGroup ? String(context.runAsGroup.value) : imageGroup;
  const { uid, entry } = context?.runAsUser ? findUid(users, userPart) : findUser(users, userPart);
  const gid = groupPart ? findGroup(context?.runAsGroup ? [] : groups, groupPart) : (entry?.gid ?? 0);
  const additional = new Set<number>((context?.supplementalGroups ?? []).map((group) => findGroup([], String(group))));
  if (context?.supplementalGroupsPolicy !== SupplementalGroupsPolicy.Strict && entry)
    for (const group of groups) if (group.members.includes(entry.name)) additional.add(group.gid);
  additional.add(gid);
  return { uid, gid, groups: [...additional].sort((a, b) => a - b) };
}

function findUser(users: readonly PasswdEntry[], part: string): { uid: number; entry?: PasswdEntry } {
  const named = users.find(({ name }) => name === part);
  if (named) return { uid: named.uid, entry: named };
  if (part === '') return { uid: 0, entry: users.find(({ uid }) => uid === 0) };
  return findUid(users, part);
}

/** A number is a number, even where somebody is called so. */
function findUid(users: readonly PasswdEntry[], part: string): { uid: number; entry?: PasswdEntry } {
  const uid = parseId(part);
  if (uid === undefined) throw invalid(`no users found: user "${part}" is not in the image's /etc/passwd`);
  return { uid, entry: users.find((one) => one.uid === uid) };
}

function findGroup(groups: readonly GroupEntry[], part: string): number {
  const gid = groups.find(({ name }) => name === part)?.gid ?? parseId(part);
  if (gid === undefined) throw invalid(`no groups found: group "${part}" is not in the image's /etc/group`);
  return gid;
}

function parseId(text: string): number | undefined {
  const id = /^\d+$/.test(text) ? Number(text) : undefined;
  if (id !== undefined && id > 0x7fffffff) throw invalid(`uids and gids must be in range 0-2147483647, not ${text}`);
  return id;
}

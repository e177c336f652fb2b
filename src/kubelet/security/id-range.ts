import { existsSync, readFileSync } from 'node:fs';
import { ConfigurationError } from '../errors.ts';

/** Ids of the host: users and groups alike. */
export interface IdRange {
  first: number;
  length: number;
}

/** Ids come in units of this many: what a Linux image may use. */
export const idUnit = 65_536;

const allIds = 2 ** 32;

/** Where users and their subordinate ids are listed. */
export interface IdFiles {
  passwd: string;
  subuid: string;
  subgid: string;
}

const hostFiles: IdFiles = { passwd: '/etc/passwd', subuid: '/etc/subuid', subgid: '/etc/subgid' };

/**
 * The ids that pods with user namespaces of their own may have: those that the user `kubelet` has been given in
 * /etc/subuid and /etc/subgid or, where there is no such user, all but the first that a pod could have (which hold root's).
 * @throws ConfigurationError when they cannot be divided among as many pods as the node may have
 */
export function readIdRange(idsPerPod: number, maxPods: number, files: IdFiles = hostFiles): IdRange {
  const fail = (message: string): never => {
    throw new ConfigurationError('userNamespaces', message);
  };
  if (!hasUser(files.passwd, 'kubelet')) return { first: idsPerPod, length: allIds - idsPerPod };
  const [uids, gids] = [subordinate(files.subuid, 'kubelet'), subordinate(files.subgid, 'kubelet')];
  if (uids.length === 0 && gids.length === 0) return { first: idsPerPod, length: allIds - idsPerPod };
  if (JSON.stringify(uids) !== JSON.stringify(gids)) fail('mismatched subuids and subgids for user "kubelet"');
  if (uids.length !== 1) fail(`one range of subordinate ids is expected for user "kubelet", there are ${uids.length}`);
  const range = uids[0]!;
  if (range.first % idsPerPod !== 0) fail(`kubelet user assigned ID ${range.first} is not a multiple of ${idsPerPod}`);
  // Root of the host would be in it.
  if (range.first < idsPerPod) fail(`kubelet user assigned ID ${range.first} must be greater or equal to ${idsPerPod}`);
  if (range.length % idsPerPod !== 0)
    fail(`kubelet user assigned IDs length ${range.length} is not a multiple of ${idsPerPod}`);
  if (range.length / idsPerPod < maxPods) fail(`kubelet user assigned IDs are not enough to support ${maxPods} pods`);
  return range;
}

function hasUser(passwd: string, name: string): boolean {
  return existsSync(passwd) && lines(passwd).some(([user]) => user === name);
}

function subordinate(file: string, name: string): IdRange[] {
  if (!existsSync(file)) return [];
  return lines(file)
    .filter(([user]) => user === name)
    .map(([, first, length]) => ({ first: Number(first), length: Number(length) }));
}

function lines(file: string): string[][] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
}

/** Checks `userNamespaces`. @throws ConfigurationError naming the part that is wrong */
export function checkUserNamespaces(fields: { idsPerPod?: unknown } | undefined): void {
  const { idsPerPod = idUnit } = fields ?? {};
  const field = 'userNamespaces.idsPerPod';
  if (typeof idsPerPod !== 'number' || !Number.isSafeInteger(idsPerPod) || idsPerPod < idUnit || idsPerPod >= allIds)
    throw new ConfigurationError(field, `must be a number of ids between ${idUnit} and ${allIds - 1}`);
  if (idsPerPod % idUnit !== 0) throw new ConfigurationError(field, `must be a multiple of ${idUnit}`);
}

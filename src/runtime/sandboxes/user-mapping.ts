import { type IDMapping, NamespaceMode, type UserNamespace } from '../../api/cri/index.ts';
import type { IdMapping, UserMapping } from '../../host/namespaces/index.ts';
import { invalid } from '../errors.ts';

/**
 * The user namespace that is asked for, undefined for the node's. As the CRI has it: mode POD with one mapping each for
 * users and groups, which begins with root inside.
 * @throws RuntimeError INVALID_ARGUMENT saying what is wrong
 */
export function userMappingOf(options: UserNamespace | undefined): UserMapping | undefined {
  if (!options) return undefined;
  const { mode, uids, gids } = options;
  if (mode === NamespaceMode.NODE) {
    if (uids.length + gids.length > 0) throw invalid('a user namespace of mode NODE takes no id mappings');
    return undefined;
  }
  if (mode !== NamespaceMode.POD)
    throw invalid(`user namespaces have the modes POD and NODE, not ${NamespaceMode[mode] ?? mode}`);
  return { uids: [checkMapping('uid', uids)], gids: [checkMapping('gid', gids)] };
}

function checkMapping(kind: string, mappings: readonly IDMapping[]): IdMapping {
  const [mapping, ...more] = mappings;
  if (!mapping || more.length > 0)
    throw invalid(`a user namespace needs exactly one ${kind} mapping, ${mappings.length} are given`);
  const { containerId, hostId, length } = mapping;
  if (containerId !== 0) throw invalid(`the ${kind} mapping of a user namespace must begin with id 0 in the container`);
  if (length === 0) throw invalid(`the ${kind} mapping of a user namespace is empty`);
  if (hostId + length > 2 ** 32 - 1) throw invalid(`the ${kind} mapping of a user namespace leads beyond the last id`);
  return { containerId, hostId, length };
}

/** Whether two namespaces map alike. */
export function sameMapping(left: UserMapping | undefined, right: UserMapping | undefined): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

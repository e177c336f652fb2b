import type { RuntimeContext } from '../context.ts';
import { machineResources } from './spec/resources.ts';
import type { SpecGround } from './spec/spec.ts';
import { UserTableCache, type UserTables } from './spec/user-tables.ts';

const grounds = new WeakMap<RuntimeContext, SpecGround>();

/** What all containers of a runtime have in common; looked up once, for it does not change while it runs. */
export function groundOf(context: RuntimeContext): SpecGround {
  const known = grounds.get(context);
  if (known) return known;
  const { settings, kernel, cgroups } = context;
  const ground: SpecGround = {
    kernel,
    resources: machineResources(cgroups),
    seccompProfileRoot: settings.seccompProfileRoot,
    ulimits: settings.defaultUlimits,
    cdiSpecDirs: settings.cdiSpecDirs,
    hooksDirs: settings.hooksDirs,
  };
  grounds.set(context, ground);
  return ground;
}

const tables = new WeakMap<RuntimeContext, UserTableCache>();

/** The users and groups of an image, as its files at the root say. */
export function userTablesOf(context: RuntimeContext, imageId: string, root: string): Promise<UserTables> {
  const cache = tables.get(context) ?? new UserTableCache();
  tables.set(context, cache);
  return cache.get(imageId, root);
}

import type { RuntimeContext } from '../context.ts';
import { machineResources } from './spec/resources.ts';
import type { SpecGround } from './spec/spec.ts';

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

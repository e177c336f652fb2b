import type { Ground } from '../ground.ts';
import type { NodeReporter } from '../pods/ports.ts';
import { idUnit, readIdRange } from './id-range.ts';
import { UserNamespaces } from './user-namespaces.ts';

/** Ranges of ids for pods with users of their own. @throws ConfigurationError when this machine's cannot be used */
export function makeUsers({ settings }: Ground, node: NodeReporter): UserNamespaces {
  const { rootDirectory: root, configuration } = settings;
  const idsPerPod = configuration.userNamespaces?.idsPerPod ?? idUnit;
  const range = readIdRange(idsPerPod, configuration.maxPods);
  return new UserNamespaces({ root, range, idsPerPod, node: () => node.node() });
}

import { type ContainerConfig, NamespaceMode } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid } from '../errors.ts';
import { sameMapping, userMappingOf } from '../sandboxes/user-mapping.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { groundOf } from './ground.ts';
import { checkResources } from './spec/resources.ts';
import { refuseUnsupportedSecurity } from './spec/security.ts';

/** Looks at what is asked of a container before anything is made. @throws RuntimeError INVALID_ARGUMENT */
export function checkContainerConfig(context: RuntimeContext, sandbox: SandboxRecord, config: ContainerConfig): void {
  const security = config.linux?.securityContext;
  if (config.windows) throw invalid('a Windows configuration is given, and this is Linux');
  checkResources(config.linux?.resources, groundOf(context).resources);
  if (!security) return;
  refuseUnsupportedSecurity(context.kernel, security);
  const options = security.namespaceOptions;
  if (!options) return;
  // What the containers of a pod share is the sandbox's; the default of the field is what most clients leave it at.
  for (const kind of ['network', 'ipc'] as const)
    if (options[kind] === NamespaceMode.NODE && sandbox.namespaces[kind])
      throw invalid(`the container asks for the host's ${kind} namespace, but its sandbox has one of its own`);
  if (options.usernsOptions && !sameMapping(userMappingOf(options.usernsOptions), sandbox.userMapping))
    throw invalid('the user namespace of a container must be that of its sandbox');
  if (sandbox.userMapping && options.pid === NamespaceMode.NODE)
    throw invalid("a container in a user namespace cannot be in the host's PID namespace");
}

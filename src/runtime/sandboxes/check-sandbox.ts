import { NamespaceMode, type PodSandboxConfig } from '../../api/cri/index.ts';
import { groundOf } from '../containers/ground.ts';
import { checkResources } from '../containers/spec/resources.ts';
import { refuseUnsupportedSecurity } from '../containers/spec/security.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import { invalid, notFound } from '../errors.ts';
import { cgroupPathOf } from './sandbox-cgroup.ts';
import { sandboxSysctls } from './sysctls.ts';
import { userMappingOf } from './user-mapping.ts';

/**
 * Looks at what is asked of a sandbox before anything is made.
 *
 * A sandbox has no process of its own but the holder of a shared PID namespace, which has no file system, no capability
 * and user 0 of its user namespace, whatever is asked: there is nothing that the security context's user, groups,
 * read-only root and profiles could confine further. They are still looked at, so that a mistake shows here.
 */
export function checkSandboxConfig(context: RuntimeContext, config: PodSandboxConfig, handler: string): void {
  const { linux, metadata } = config;
  if (!metadata?.name || !metadata.uid || !metadata.namespace)
    throw invalid('sandbox metadata needs a name, a namespace and a uid');
  if (handler && !ociRuntimeOf(context, handler)) throw notFound('runtime handler', handler);
  const security = linux?.securityContext;
  const options = security?.namespaceOptions;
  if (options?.pid === NamespaceMode.TARGET) throw invalid('PID mode TARGET is for containers, not for a sandbox');
  if (options?.targetId) throw invalid('a namespace target is for containers, not for a sandbox');
  for (const kind of ['network', 'ipc'] as const) {
    const mode = options?.[kind] ?? NamespaceMode.POD;
    if (mode !== NamespaceMode.POD && mode !== NamespaceMode.NODE)
      throw invalid(`the ${kind} namespace of a sandbox is of mode POD or NODE, not ${NamespaceMode[mode] ?? mode}`);
  }
  if (Buffer.byteLength(config.hostname) > 64)
    throw invalid(`hostname "${config.hostname}" is longer than 64 characters`);
  const mapping = userMappingOf(options?.usernsOptions);
  if (mapping && options?.pid === NamespaceMode.NODE)
    throw invalid("a sandbox in a user namespace cannot be in the host's PID namespace");
  checkResources(linux?.resources, groundOf(context).resources);
  checkResources(linux?.overhead, groundOf(context).resources);
  sandboxSysctls(config, {});
  if (linux?.cgroupParent) cgroupPathOf(linux.cgroupParent);
  if (security?.runAsGroup && !security.runAsUser) throw invalid('user group is specified without user');
  for (const id of [security?.runAsUser?.value, security?.runAsGroup?.value, ...(security?.supplementalGroups ?? [])])
    if (id !== undefined && (id < 0n || id > 0x7fffffffn))
      throw invalid(`uids and gids must be in range 0-2147483647, not ${id}`);
  if (security) refuseUnsupportedSecurity(context.kernel, security);
}

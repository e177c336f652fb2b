export { calls, cloneFlags, NamespaceError, namespaceIdentity } from './calls.ts';
export {
  createSandboxNamespaces,
  inNetworkNamespace,
  inNewPidNamespace,
  namespaceFiles,
  pinNamespace,
  type SandboxNamespacesOptions,
  type SharedNamespace,
  unpinNamespace,
  writeSysctl,
} from './sandbox-namespaces.ts';

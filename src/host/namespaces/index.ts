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

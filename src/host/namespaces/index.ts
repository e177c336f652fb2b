export { buildWaitingProgram } from './holder-program.ts';
export { startHolder, writeHolderProgram } from './pid-holder.ts';
export {
  configureNamespaces,
  createSandboxNamespaces,
  inNetworkNamespace,
  isPinned,
  namespaceFiles,
  pinNamespace,
  type SandboxNamespacesOptions,
  type SharedNamespace,
  unpinNamespace,
  writeSysctl,
} from './sandbox-namespaces.ts';
export {
  enterNewUserNamespace,
  type IdMapping,
  type NamespaceKeeper,
  type OwnedNamespace,
  openUserNamespace,
  toHostId,
  type UserMapping,
} from './user-namespace.ts';

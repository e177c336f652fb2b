const noPause =
  'describes the process that holds a sandbox elsewhere (pause): there is none here, and containers have their own';
const shared = 'read through the interface that sandboxes and containers share (containers/spec/security.ts)';
const windows = 'for Windows: refused by the type of the field wherever it is set (src/runtime/cri/check-request.ts)';
const windowsAnswer = 'for Windows: a runtime on Linux leaves it empty';

/** Fields that nothing in src/runtime uses by name, each with the reason. `Message.*` is a whole message. */
export const fieldExceptions: Readonly<Record<string, string>> = {
  'VersionRequest.version': 'the version that the caller was built for, which decides nothing: there is one v1',
  'LinuxSandboxSecurityContext.readonlyRootfs': noPause,
  'LinuxSandboxSecurityContext.supplementalGroupsPolicy': noPause,
  'LinuxSandboxSecurityContext.seccomp': noPause,
  'LinuxSandboxSecurityContext.apparmor': noPause,
  'LinuxSandboxSecurityContext.seccompProfilePath': `deprecated: replaced by seccomp; ${noPause}`,
  'LinuxSandboxSecurityContext.selinuxOptions': noPause,
  'LinuxContainerSecurityContext.apparmor': shared,
  'LinuxContainerSecurityContext.apparmorProfile': `deprecated: replaced by apparmor; ${shared}`,
  'Mount.selinuxRelabel': 'without SELinux there is nothing to relabel, and the kubelet sets it for every volume',
  'PodSandboxConfig.windows': windows,
  'WindowsNamespaceOption.*': windows,
  'WindowsSandboxSecurityContext.*': windows,
  'WindowsPodSandboxConfig.*': windows,
  'WindowsContainerSecurityContext.*': windows,
  'WindowsContainerConfig.*': windows,
  'WindowsContainerResources.*': windows,
  'WindowsCpuGroupAffinity.*': windows,
  'ContainerResources.windows': windowsAnswer,
  'PodSandboxStats.windows': windowsAnswer,
  'WindowsPodSandboxStats.*': windowsAnswer,
  'WindowsNetworkUsage.*': windowsAnswer,
  'WindowsNetworkInterfaceUsage.*': windowsAnswer,
  'WindowsProcessUsage.*': windowsAnswer,
  'WindowsFilesystemUsage.*': windowsAnswer,
  'WindowsContainerStats.*': windowsAnswer,
  'WindowsCpuUsage.*': windowsAnswer,
  'WindowsMemoryUsage.*': windowsAnswer,
  'ImageSpec.annotations': 'notes for whoever reads them: told again in statuses, and nothing else is to be done',
  'ImageSpec.runtimeHandler': 'all handlers run images from one store, unpacked in one way',
  'CreateContainerRequest.sandboxConfig': 'what RunPodSandbox was told, again: the record of the sandbox is used',
  'PullImageRequest.sandboxConfig': 'whom the image is for: it is the same for everybody',
};

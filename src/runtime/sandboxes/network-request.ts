import type { PodNetworkRequest } from '../network/pod-network.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';

/** What the pod network is told of a sandbox. */
export function networkRequest(record: SandboxRecord): PodNetworkRequest {
  const { metadata, portMappings, annotations, dnsConfig, linux } = record.config;
  return {
    sandboxId: record.id,
    name: metadata?.name ?? '',
    namespace: metadata?.namespace ?? '',
    uid: metadata?.uid ?? '',
    namespacePath: record.namespaces.network ?? '',
    portMappings,
    annotations,
    ...(dnsConfig ? { dns: dnsConfig } : {}),
    ...(linux?.cgroupParent ? { cgroupParent: linux.cgroupParent } : {}),
    ...(record.network ? { attachment: record.network } : {}),
  };
}

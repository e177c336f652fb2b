import { type PortMapping, Protocol } from '../../../api/cri/index.ts';
import { invalid } from '../../errors.ts';
import { readBandwidth } from '../bandwidth.ts';
import type { PodNetworkRequest } from '../pod-network.ts';
import type { CniConfiguration, CniPlugin } from './cni-config.ts';

/** What a pod asks of plugins, by capability. */
export type CapabilityArguments = Record<string, unknown>;

/** Capabilities that a pod cannot go without: what was asked for would be passed over. */
const needed: Record<string, string> = {
  portMappings: 'host ports',
  bandwidth: 'bandwidth annotations',
};

/** What a pod asks for that plugins may be capable of. @throws RuntimeError for what cannot be read */
export function capabilityArguments(request: PodNetworkRequest): CapabilityArguments {
  const ports = request.portMappings.filter(({ hostPort }) => hostPort > 0).map(toCniPort);
  const bandwidth = readBandwidth(request.annotations);
  const { servers = [], searches = [], options = [] } = request.dns ?? {};
  const hasDns = servers.length + searches.length + options.length > 0;
  const burst = 2 ** 31 - 1;
  return {
    ...(ports.length > 0 ? { portMappings: ports } : {}),
    ...(bandwidth
      ? {
          bandwidth: {
            ...(bandwidth.ingress ? { ingressRate: bandwidth.ingress, ingressBurst: burst } : {}),
            ...(bandwidth.egress ? { egressRate: bandwidth.egress, egressBurst: burst } : {}),
          },
        }
      : {}),
    ...(hasDns ? { dns: { servers, searches, options } } : {}),
    ...(request.cgroupParent ? { cgroupPath: request.cgroupParent } : {}),
    'io.kubernetes.cri.pod-annotations': request.annotations,
  };
}

/** Refuses what no plugin of the configuration can do. @throws RuntimeError */
export function checkCapabilities({ name, plugins }: CniConfiguration, asked: CapabilityArguments): void {
  for (const [capability, what] of Object.entries(needed))
    if (asked[capability] !== undefined && !plugins.some((plugin) => plugin.capabilities?.[capability]))
      throw invalid(
        `the pod asks for ${what}, and no plugin of CNI network "${name}" has the capability ${capability}: add one that has, or leave them out`,
      );
}

/** What of it a plugin has declared that it takes. */
export function runtimeConfigOf({ capabilities = {} }: CniPlugin, asked: CapabilityArguments): object | undefined {
  const taken = Object.entries(asked).filter(([capability]) => capabilities[capability]);
  return taken.length > 0 ? Object.fromEntries(taken) : undefined;
}

const toCniPort = ({ hostPort, containerPort, protocol, hostIp }: PortMapping) => ({
  hostPort,
  containerPort,
  protocol: (Protocol[protocol] ?? 'TCP').toLowerCase(),
  ...(hostIp ? { hostIP: hostIp } : {}),
});

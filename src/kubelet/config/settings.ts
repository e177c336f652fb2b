import type { ApiClient } from '../../client/index.ts';
import { parseCpuSet } from '../managers/cpu-set.ts';
import type { ServiceManagerSettings } from '../shutdown/service-manager.ts';
import { durationMs } from './duration.ts';
import { completeConfiguration, type KubeletConfiguration } from './kubelet-configuration.ts';

/** How a kubelet is started: what upstream takes as flags, and the configuration file's content. */
export interface KubeletConfig {
  /** The API server. Without one the kubelet runs the pods of `staticPodPath` only. */
  client?: ApiClient;
  /** Name of the Node object. */
  nodeName: string;
  /** Addresses of the node, one or (dual-stack) two. Default: the address of the default route or the first one found. */
  nodeIps?: string[];
  /** Labels to register the node with, besides the well-known ones. */
  nodeLabels?: Record<string, string>;
  /** Where pods' files are kept. Default /var/lib/kubelet. */
  rootDirectory?: string;
  /** Where links to container logs are put. Default: `containers` beside the pod logs directory. */
  containerLogsDirectory?: string;
  /** PEM of the server's certificate and key; overrides the files that the configuration names. */
  serving?: { cert: string; key: string };
  /** Programs that give logins for images: their configuration (a file or a directory), and where they are. */
  imageCredentialProviders?: { config: string; binDirectory: string };
  /** Where certificates of the node are kept. Default: `pki` below the root directory. */
  certDirectory?: string;
  /** The addresses were chosen for this node, so that a cloud has to agree with them. Default false. */
  nodeIpsGiven?: boolean;
  /** A cloud controller completes the node: it begins with a taint, which that one takes away. Default false. */
  externalCloud?: boolean;
  /** Allocatable is not lessened by the hard eviction thresholds. Default false. */
  ignoreEvictionInAllocatable?: boolean;
  /** The runtime's cgroup, for its statistics. Default: unknown. */
  runtimeCgroups?: string;
  /** Address of the system bus, for shutdowns of the machine. Default unix:path=/run/dbus/system_bus_socket. */
  systemBus?: string | undefined;
  /** How the service manager is told that the kubelet works; nobody is by default. */
  serviceManager?: ServiceManagerSettings;
  /** KubeletConfiguration fields, checked strictly; defaults as upstream's. */
  configuration?: Record<string, unknown>;
}

/** The configuration, resolved: units are milliseconds and bytes. */
export interface KubeletSettings {
  nodeName: string;
  nodeIps: string[];
  nodeIpsGiven: boolean;
  nodeLabels: Record<string, string>;
  externalCloud: boolean;
  ignoreEvictionInAllocatable: boolean;
  runtimeCgroups: string;
  rootDirectory: string;
  certDirectory: string;
  podLogsDirectory: string;
  containerLogsDirectory: string;
  runtimeEndpoint: string;
  imageEndpoint: string;
  crashLoopMaximumMs: number;
  syncFrequencyMs: number;
  runtimeRequestTimeoutMs: number;
  cpuQuotaPeriodUs: number;
  imageCredentialProviders?: { config: string; binDirectory: string } | undefined;
  systemBus: string;
  serviceManager: ServiceManagerSettings;
  configuration: KubeletConfiguration;
}

/** Processors that are reserved by name are what is reserved, whatever the other fields say of processors. */
function reserveNamedCpus(configuration: KubeletConfiguration): void {
  const cpus = parseCpuSet(String(configuration.reservedSystemCPUs)).size;
  if (cpus === 0) return;
  const { cpu: _, ...kubeReserved } = configuration.kubeReserved ?? {};
  configuration.kubeReserved = kubeReserved;
  configuration.systemReserved = { ...configuration.systemReserved, cpu: String(cpus) };
}

/** Checks a kubelet's configuration and fills in what it leaves out. @throws ConfigurationError naming the field */
export function resolveSettings(config: KubeletConfig): KubeletSettings {
  const configuration = completeConfiguration(config.configuration ?? {});
  reserveNamedCpus(configuration);
  const podLogsDirectory = configuration.podLogsDir;
  const rootDirectory = config.rootDirectory ?? '/var/lib/kubelet';
  return {
    nodeName: config.nodeName,
    nodeIps: config.nodeIps ?? [],
    nodeLabels: config.nodeLabels ?? {},
    nodeIpsGiven: config.nodeIpsGiven ?? false,
    externalCloud: config.externalCloud ?? false,
    ignoreEvictionInAllocatable: config.ignoreEvictionInAllocatable ?? false,
    runtimeCgroups: config.runtimeCgroups ?? '',
    rootDirectory,
    certDirectory: config.certDirectory ?? `${rootDirectory}/pki`,
    podLogsDirectory,
    containerLogsDirectory:
      config.containerLogsDirectory ?? podLogsDirectory.replace(/\/*$/, '').replace(/[^/]*$/, 'containers'),
    runtimeEndpoint: configuration.containerRuntimeEndpoint,
    imageEndpoint: configuration.imageServiceEndpoint || configuration.containerRuntimeEndpoint,
    crashLoopMaximumMs: durationMs(configuration.crashLoopBackOff.maxContainerRestartPeriod),
    syncFrequencyMs: durationMs(configuration.syncFrequency),
    runtimeRequestTimeoutMs: durationMs(configuration.runtimeRequestTimeout),
    cpuQuotaPeriodUs: durationMs(configuration.cpuCFSQuotaPeriod) * 1000,
    imageCredentialProviders: config.imageCredentialProviders,
    serviceManager: config.serviceManager ?? {},
    systemBus: config.systemBus || 'unix:path=/run/dbus/system_bus_socket',
    configuration,
  };
}

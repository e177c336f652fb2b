/** Pods on a node. */

export { kubeletVersion } from './assemble.ts';
export { type KubeletConfiguration, parseKubeletConfiguration } from './config/kubelet-configuration.ts';
export { type KubeletFlag, kubeletFlags } from './config/kubelet-flags.ts';
export { loadConfiguration } from './config/load-configuration.ts';
export type { KubeletConfig } from './config/settings.ts';
export { ConfigurationError } from './errors.ts';
export { prepareOwnProcess } from './node/host-checks.ts';
export type { PodTimeline } from './pods/ports.ts';
export { type KubeletComponent, type KubeletContext, startKubelet } from './start-kubelet.ts';
export { type NodeAgentConfig, startNodeAgent } from './start-node-agent.ts';

/** Pods on a node. */

export { kubeletVersion } from './assemble.ts';
export { parseKubeletConfiguration } from './config/kubelet-configuration.ts';
export type { KubeletConfig } from './config/settings.ts';
export { ConfigurationError } from './errors.ts';
export type { PodTimeline } from './pods/ports.ts';
export { type KubeletComponent, type KubeletContext, startKubelet } from './start-kubelet.ts';

export {
  type ConntrackSettings,
  type DetectLocal,
  defaultSettings,
  type LoadedConfiguration,
  type ProxySettings,
  parseProxyConfiguration,
} from './configuration.ts';
export { ProxyError, type ProxyErrorCode } from './errors.ts';
export type { NodeFacts, NodeSource } from './node-facts.ts';
export { removeProxyRules } from './remove-rules.ts';
export { ManualSource, type ServiceSource } from './service-source.ts';
export { type Proxy, type ProxyConfig, startProxy } from './start-proxy.ts';
